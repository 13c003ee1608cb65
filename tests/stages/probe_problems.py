"""What a probe says of labels."""

from types import ModuleType
from typing import Any

import numpy as np


def first_problems(module: ModuleType, labels: list[Any], classes: int) -> list[tuple[str, str] | None]:
    """Kind and detail of the first problem of each label, None for one without."""
    found: list[tuple[str, str] | None] = [None] * len(labels)
    for kind, detail, is_wrong in reversed(module.problems(np.array(labels, np.float64), classes)):
        for row in np.flatnonzero(is_wrong):
            found[row] = (kind, detail)
    return found
