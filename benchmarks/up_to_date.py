"""Commands that find nothing to run: DVC with as many files as profile `paper` leaves, against profile `sample`.

`make flow` is compared with `dvc repro` in the same repository. Targets, in seconds: 10 for DVC, 20 for `make flow`.
"""

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from benchmarks import placeholders
from benchmarks.rows import Row


def compare(_: Namespace) -> Iterator[Row]:
    """A row for each of the two commands."""
    with tempfile.TemporaryDirectory() as name:
        whole, few = Path(name) / "paper", Path(name) / "sample"
        stages, files = placeholders.make(whole, "paper")
        fewer, less = placeholders.make(few, "sample")
        repro = placeholders.repro(whole)
        size, sample = f"{stages} stages, {files} files", f"profile sample, {fewer} stages, {less} files"
        yield Row("up_to_date", f"dvc repro, {size}", "s of a processor", sample, repro, placeholders.repro(few))
        flow = placeholders.flow(whole)
        yield Row("up_to_date", f"make flow, {size}", "s of a processor", "dvc repro in the same place", flow, repro)
