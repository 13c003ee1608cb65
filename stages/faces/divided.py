"""Test images that training or validation holds as well: the same file, or a near copy of it.

A probe has seen such an image, or was chosen on it, so its score on it says little. They are told and counted, not
removed: which images are in the test split is for the owner to say.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stages.faces.near_copies import Pairs

NAMED = 3  # copies that the log names


def copies(dataset: str, index: pa.Table, split_of: Mapping[str, str], near: Pairs) -> list[dict[str, Any]]:
    """Rows of tables.COPIES: every test image with a near copy in another split, and the nearest of those.

    Args:
        dataset: name of the data set.
        index: with the columns sample_id and sha256.
        split_of: the split of every image.
        near: near copies, as rows of the index.
    """
    ids, digests = index["sample_id"].to_pylist(), index["sha256"].to_pylist()
    is_test = np.array([split_of[name] == "test" for name in ids], np.bool_)
    across = near[is_test[near.one] != is_test[near.other]]
    nearest: dict[int, tuple[bool, int, int]] = {}  # test row -> not the same bytes, bits, row of the copy
    for one, other, bits in zip(across.one.tolist(), across.other.tolist(), across.bits.tolist(), strict=True):
        test, copy = (one, other) if is_test[one] else (other, one)
        found = (not digests[test] or digests[test] != digests[copy], bits, copy)
        nearest[test] = min(found, nearest.get(test, found))
    return [
        {
            "dataset": dataset,
            "sample_id": ids[test],
            "copy_of": ids[copy],
            "copy_split": split_of[ids[copy]],
            "bits": bits,
            "is_same": not differs,
        }
        for test, (differs, bits, copy) in sorted(nearest.items())
    ]


def sentence(rows: Sequence[Mapping[str, Any]], tested: int) -> str:
    """How many of the `tested` images have a copy, and which: `a is b of train, c is d of val and 4 more`."""
    same = sum(row["is_same"] for row in rows)
    verb = "is" if len(rows) == 1 else "are"
    named = ", ".join(_examples(rows))
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return (
        f"{len(rows)} of {tested} test images {verb} in training or validation as well, as the same file ({same}) or "
        f"as a near copy ({len(rows) - same}): {named}{more}"
    )


def _examples(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Those that are most alike first: `a is b of train`."""
    for row in sorted(rows, key=lambda row: (not row["is_same"], row["bits"]))[:NAMED]:
        yield f"{row['sample_id']} is {row['copy_of']} of {row['copy_split']}"
