import pytest

from stages.reporting import contents


@pytest.mark.parametrize(
    ("losses", "at", "expected"),
    [
        ([1.0, 2.0, 3.0], 0, "smallest"),
        ([3.0, 2.0, 1.0], 2, "largest"),
        ([2.0, 1.0, 3.0], 1, ""),
        ([1.0, 1.0, 1.0], 0, ""),
        ([1.0], 0, ""),
    ],
)
def test_a_value_at_the_edge_of_its_sweep_is_one_whose_only_neighbour_is_worse(losses, at, expected):
    assert contents.edge(losses, at) == expected
