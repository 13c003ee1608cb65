import numpy as np
import pytest

from stages.synthetic.renderer import expression, layout
from stages.synthetic.renderer.expression import ACTION_UNITS, EMOTIONS

REST = layout.NEUTRAL
RIGHT_BROW, RIGHT_EYE, MOUTH = (
    range(part.start, part.stop) for part in (layout.RIGHT_BROW, layout.RIGHT_EYE, layout.MOUTH)
)
RIGHT_CORNER, LEFT_CORNER = 31, 37
LOWER_LIP, UPPER_LIP = 40, 34


def moved(**units: float) -> np.ndarray:
    """Displacement (51, 2) of the points by these action units."""
    return expression.deform(REST, expression.action_units(units)) - REST


def moved_points(**units: float) -> set[int]:
    return set(np.flatnonzero(np.abs(moved(**units)).max(axis=1) > 1e-9).tolist())


def test_without_action_units_no_point_moves():
    assert moved_points() == set()


@pytest.mark.parametrize(("name", "where"), [("AU1", range(10)), ("AU2", range(10)), ("AU43", range(19, 31))])
def test_brow_and_lid_units_stay_in_their_region(name: str, where: range):
    assert moved_points(**{name: 1.0}) <= set(where)


def test_inner_and_outer_brow_raisers_lift_their_end_of_the_brow():
    inner, outer = moved(AU1=1.0)[list(RIGHT_BROW), 1], moved(AU2=1.0)[list(RIGHT_BROW), 1]
    assert (inner[4], inner[0]) == pytest.approx((-0.13, 0))
    assert (outer[4], outer[0]) == pytest.approx((0, -0.13))


def test_brow_lowerer_brings_the_inner_ends_down_and_together():
    shift = moved(AU4=1.0)
    assert shift[4] == pytest.approx((0.05, 0.145))
    assert shift[5] == pytest.approx((-0.05, 0.145))


def test_a_blink_brings_upper_and_lower_lid_together():
    points = expression.deform(REST, expression.action_units({"AU43": 1.0}))
    for eye in (layout.RIGHT_EYE, layout.LEFT_EYE):
        gap = points[eye][layout.LID_LOWER, 1] - points[eye][layout.LID_UPPER, 1]
        assert gap == pytest.approx([0.006, 0.006])


def test_a_one_sided_smile_does_not_move_the_other_corner():
    shift = moved(AU12L=1.0)
    assert shift[LEFT_CORNER, 0] > 0.1
    assert shift[LEFT_CORNER, 1] < -0.1
    assert shift[RIGHT_CORNER] == pytest.approx((0, 0), abs=0.01)


def test_the_right_side_is_the_subject_s_right():
    assert moved_points(AU14R=1.0) <= {index for index in MOUTH if REST[index, 0] < 0}


def test_jaw_drop_opens_the_mouth_and_narrows_it():
    points = expression.deform(REST, expression.action_units({"AU26": 1.0}))
    assert points[LOWER_LIP, 1] - REST[LOWER_LIP, 1] == pytest.approx(0.85 * 0.85 * 0.30)
    assert points[UPPER_LIP, 1] == pytest.approx(REST[UPPER_LIP, 1])
    assert points[LEFT_CORNER, 0] < REST[LEFT_CORNER, 0]


def test_lip_corners_go_down_when_depressed():
    assert moved(AU15=1.0)[[RIGHT_CORNER, LEFT_CORNER], 1] == pytest.approx([0.085, 0.085])


@pytest.mark.parametrize("emotion", [name for name in EMOTIONS if name != "contempt"])
def test_all_emotions_but_contempt_are_symmetric(emotion: str):
    points = expression.deform(REST, expression.action_units(EMOTIONS[emotion]))
    mirrored = points * (-1, 1)
    nearest = np.linalg.norm(points[:, None] - mirrored, axis=-1).min(axis=1)
    assert nearest.max() < 1e-9


def test_every_drawn_intensity_lies_between_0_and_1():
    rng = np.random.default_rng(0)
    for emotion in [*EMOTIONS] * 5:
        units = expression.draw(rng, emotion, (0.5, 1.5))
        assert tuple(units) == ACTION_UNITS
        assert all(0 <= value <= 1 for value in units.values())
