import numpy as np
import pytest

from stages.synthetic.renderer import clip, identity
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.clip import FrameState
from stages.synthetic.renderer.seeds import generator

CAMERA = Camera.square(160)


def states(seed: int, emotion: str = "happy", frames: int = 100) -> list[FrameState]:
    return clip.draw_states(generator("clip", seed), emotion=emotion, frames=frames, camera=CAMERA)


def test_the_head_turns_smoothly_and_not_too_far():
    for seed in range(20):
        angles = np.degrees([(state.pose.yaw, state.pose.pitch, state.pose.roll) for state in states(seed)])
        assert np.abs(np.diff(angles, axis=0)).max() < 7
        assert np.abs(angles[:, 0]).max() <= clip.YAW_LIMIT_DEG


def test_yaw_stays_within_30_degrees_mostly():
    yaw = np.degrees([state.pose.yaw for seed in range(30) for state in states(seed)])
    assert (np.abs(yaw) < 30).mean() > 0.95
    assert yaw.std() > 8


def test_the_expression_starts_neutral():
    smile = [state.au["AU12L"] for state in states(1, "happy")]
    assert smile[0] == 0
    assert max(smile) > 0.5


def test_a_neutral_clip_has_blinks_and_speech():
    neutral = states(2, "neutral")
    assert max(state.au["AU43"] for state in neutral) > 0.8
    assert max(state.au["AU26"] for state in neutral) > 0


def test_a_step_skips_frames_without_changing_the_others():
    person = identity.draw(generator("clip", "who"))
    whole, sparse = (
        list(clip.render_clip(person, generator("clip", 3), emotion="sad", frames=7, camera=CAMERA, step=step))
        for step in (1, 3)
    )
    assert [state for state, _ in sparse] == [state for state, _ in whole][::3]
    assert np.array_equal(sparse[1][1].landmarks, whole[3][1].landmarks)


@pytest.mark.parametrize("frames", [1, 2])
def test_clips_of_one_or_two_frames_are_complete(frames: int):
    assert len(states(4, "fear", frames)) == frames
