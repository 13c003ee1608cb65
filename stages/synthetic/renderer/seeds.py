"""Named random streams: one item's random numbers never depend on how many others were drawn."""

import hashlib

import numpy as np


def generator(*key: int | str) -> np.random.Generator:
    """A generator for `key`, such as (2018, "affectnet", "training", 17): equal keys draw equal numbers."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
