"""Near copies among still images: frames of one scene, or one picture stored twice, known by a digest of the crop.

The digest is a difference hash: whether each of 16 x 17 grey cells is brighter than its left neighbour, 256 bits. A
border of one colour is left out first, because all cells in it compare equal, which makes any two pictures with
borders alike. On real faces, frames of one sequence differ by 17 bits in the median; pictures that only look alike, by
40 bits or more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 16
BITS = SIDE * SIDE
MOST = 25  # bits in which near copies differ, at most: a tenth
LEVELS = 12  # grey levels; a border varies by no more around the colour of its corner
ROWS = 4096  # on each side of a tile, 64 MiB

Image = NDArray[np.uint8]
Digests = NDArray[np.uint8]  # (N, BITS / 8)
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of near copies among N digests, each pair once."""

    one: Ints  # (P,) rows
    other: Ints  # (P,) rows, each after that of `one`
    bits: Ints  # (P,) in which the two differ, at most MOST

    def __getitem__(self, kept: NDArray[np.bool_]) -> "Pairs":
        return Pairs(self.one[kept], self.other[kept], self.bits[kept])


def digest(image: Image) -> bytes:
    """Of an RGB image (H, W, 3) uint8, BITS / 8 bytes; images that look the same differ in few bits."""
    grey = _without_border(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8))
    cells = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def pairs(digests: Digests) -> Pairs:
    """All near copies among N digests."""
    found = list(_of_tiles(digests))
    columns = ([getattr(each, name) for each in found] for name in ("one", "other", "bits"))
    return Pairs(*(np.concatenate([*column, np.empty(0, np.int64)]).astype(np.int64) for column in columns))


def groups(found: Pairs, count: int) -> Ints:
    """For each of `count` digests the first one of its group (N,): near copies, their near copies, and so on."""
    graph = coo_array((np.ones(len(found.one), np.bool_), (found.one, found.other)), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    _, first = np.unique(group, return_index=True)
    return first[group]


def _without_border(grey: Image) -> Image:
    """The smallest rectangle that holds all that differs from the first pixel; the whole image if it is too small."""
    differs = np.abs(grey.astype(np.int16) - int(grey[0, 0])) > LEVELS
    rows, columns = (np.flatnonzero(differs.any(axis)) for axis in (1, 0))
    if min(len(rows), len(columns)) <= SIDE:
        return grey
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _of_tiles(digests: Digests) -> Iterator[Pairs]:
    """Near copies of every tile. Every pair is compared: a matrix product counts bits that agree."""
    for top in range(0, len(digests), ROWS):
        ours = _signs(digests[top : top + ROWS])
        for left in range(top, len(digests), ROWS):
            agreeing_less_differing = ours @ _signs(digests[left : left + ROWS]).T
            one, other = np.nonzero(agreeing_less_differing >= BITS - 2 * MOST)
            bits = (BITS - agreeing_less_differing[one, other]).astype(np.int64) // 2
            yield Pairs(one + top, other + left, bits)[one + top < other + left]


def _signs(digests: Digests) -> NDArray[np.float32]:
    """-1 or 1 for every bit, (N, BITS)."""
    return np.unpackbits(digests, axis=1).astype(np.float32) * 2 - 1
