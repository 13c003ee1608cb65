import numpy as np
import pytest

from stages.footage import shots


def test_other_brightness_is_like_and_another_picture_is_not():
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 200, (90, 160, 3), np.uint8) for _ in range(2))
    thumbnails = [shots.thumbnail(image) for image in (one, one // 2 + 20, other, np.full_like(one, 7))]
    likeness = [shots.likeness(thumbnails[0], thumbnail) for thumbnail in thumbnails]
    assert likeness[:2] == [pytest.approx(1), pytest.approx(1, abs=0.05)]
    assert abs(likeness[2]) < 0.5
    assert likeness[3] == 0
