from stages.reporting import panels


def test_more_methods_than_colours_are_told_apart_by_dashes_and_marks():
    methods = ["random", *(f"method_{number}" for number in range(2 * len(panels.COLOURS)))]
    looks = panels.looks(methods)
    assert list(looks) == methods
    assert len(set(looks.values())) == len(methods)
    assert len({colour for colour, _ in looks.values()}) == len(panels.COLOURS) + 1
