import numpy as np
import pytest

from stages.synthetic.studio import clip, identity
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.clip import Moment
from stages.synthetic.studio.seeds import generator

CAMERA = Camera.square(160)


def acted(seed: int, emotion: str = "happy", frames: int = 100) -> list[Moment]:
    return clip.act(generator("clip", seed), emotion=emotion, frames=frames, camera=CAMERA)


def test_the_head_turns_smoothly_and_not_too_far():
    for seed in range(20):
        angles = np.degrees([(moment.pose.yaw, moment.pose.pitch, moment.pose.roll) for moment in acted(seed)])
        assert np.abs(np.diff(angles, axis=0)).max() < 7
        assert np.abs(angles[:, 0]).max() <= clip.YAW_LIMIT_DEG


def test_yaw_stays_within_30_degrees_mostly():
    yaw = np.degrees([moment.pose.yaw for seed in range(30) for moment in acted(seed)])
    assert (np.abs(yaw) < 30).mean() > 0.95
    assert yaw.std() > 8


def test_the_expression_comes_from_neutral():
    smile = [moment.au["AU12L"] for moment in acted(1, "happy")]
    assert smile[0] == 0
    assert max(smile) > 0.5


def test_somebody_blinks_and_talks_even_when_neutral():
    moments = acted(2, "neutral")
    assert max(moment.au["AU43"] for moment in moments) > 0.8
    assert max(moment.au["AU26"] for moment in moments) > 0


def test_a_step_leaves_out_frames_but_not_the_course():
    who = identity.draw(generator("clip", "who"))
    whole, sparse = (
        list(clip.play(who, generator("clip", 3), emotion="sad", frames=7, camera=CAMERA, step=step)) for step in (1, 3)
    )
    assert [moment for moment, _ in sparse] == [moment for moment, _ in whole][::3]
    assert np.array_equal(sparse[1][1].landmarks, whole[3][1].landmarks)


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_clips_play(frames: int):
    assert len(acted(4, "fear", frames)) == frames
