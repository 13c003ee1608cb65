"""What the parts of `benchmarks/on_gpu.sh` share: the command line, and where their rows go."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks import packed, rows
from benchmarks.rows import Row, SkippedError
from fabnet.modules import devices

ROWS = "rows.jsonl"

Measure = Callable[[argparse.Namespace, torch.device], Iterator[Row]]


def gpu() -> torch.device:
    """The GPU.

    Raises:
        SkippedError: there is none.
    """
    if not torch.cuda.is_available():
        raise SkippedError("there is no GPU; benchmarks/on_gpu.sh runs where there is one")
    return torch.device("cuda")


def parser(about: str | None) -> argparse.ArgumentParser:
    """With the arguments that all parts have; `about` is the module's docstring."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=Path(), help=f"folder; rows are added to {ROWS} in it")
    made.add_argument("--packed", type=Path, default=Path(".gpu"), help="folder that gpu_pack wrote (default: .gpu)")
    made.add_argument("--device", default="cuda", help="cpu tries the program (default: cuda)")
    return made


def run(wanted: argparse.Namespace, measure: Measure) -> None:
    """Print the rows and keep each as soon as it is measured."""
    try:
        device = devices.device(wanted.device)
    except ValueError as error:
        sys.exit(str(error))
    wanted.out.mkdir(parents=True, exist_ok=True)
    for row in measure(wanted, device):
        rows.append(row, wanted.out / ROWS, rows.about(packed.commit(wanted.packed)))
