"""A digest of what an image looks like: 64 bits, few of which change when it is compressed again.

Each bit says whether one of the 64 lowest frequencies of the grey image (discrete cosine transform of 32 x 32 px) is
above their median. 64 bits do not bring a face back.
"""

import re
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.images import Image

BITS = 64
_SMALL_PX, _LOW = 32, 8


def digest(image: Image) -> str:
    """16 hexadecimal digits for an RGB image."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_LOW, :_LOW].ravel()
    return np.packbits(low > np.median(low[1:])).tobytes().hex()  # the first one is the mean


def check(text: str) -> None:
    """Raises ValueError for a text that is no digest."""
    if not re.fullmatch(f"[0-9a-f]{{{BITS // 4}}}", text):
        raise ValueError(f"a perceptual digest has {BITS // 4} hexadecimal digits, found {text!r}")


def distances(some: Sequence[str], others: Sequence[str]) -> NDArray[np.int64]:
    """In how many of BITS two digests differ, pair by pair, (N,)."""
    first, second = (np.array([int(text, 16) for text in texts], np.uint64) for texts in (some, others))
    return np.bitwise_count(first ^ second).astype(np.int64)
