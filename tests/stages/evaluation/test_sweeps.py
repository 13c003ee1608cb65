import pytest
import torch

from fabnet.probe_head import Samples, Settings
from fabnet.probes import classes
from stages.evaluation import sweeps
from stages.evaluation.labelled import TaskName


@pytest.mark.parametrize(
    ("losses", "at", "expected"),
    [
        ([1.0, 2.0, 3.0], 0, "smallest"),
        ([3.0, 2.0, 1.0], 2, "largest"),
        ([2.0, 1.0, 3.0], 1, ""),
        ([1.0, 1.0, 1.0], 0, ""),
        ([3.0, 1.0005, 1.0], 2, ""),
        ([1.0], 0, ""),
    ],
)
def test_a_value_at_the_edge_of_its_sweep_is_one_whose_only_neighbour_is_worse(losses, at, expected):
    assert sweeps.edge(losses, at) == expected


def test_a_sweep_has_a_row_for_every_weight_with_its_steps_and_whether_it_converged():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = Samples(x, (x[:, :2] > 0).double())
    probe = classes.fit(samples, samples, Settings(l2=[1.0, 1e-6, 1e-3], max_iter=3, neighbours=5))
    rows = sweeps.rows(probe, TaskName("affectnet", "expression"))
    assert [(row["l2"], row["is_chosen"], row["edge"]) for row in rows] == [
        (1e-6, True, "smallest"), (1e-3, False, ""), (1.0, False, ""),
    ]  # fmt: skip
    assert [row["iterations"] for row in rows] == [3, 3, 3]
    assert not rows[0]["is_converged"]
