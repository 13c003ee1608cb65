"""The name of a result, checked before any work is done, and how many things it holds."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from stages.runtime.errors import UserError

TABLE = (".parquet", ".csv")


def check(out: Path, suffixes: Sequence[str], inputs: Iterable[Path]) -> None:
    """Check that a result can be written under its name and replaces no input.

    Raises:
        UserError: another suffix, a folder, one of `inputs`, or a folder that cannot be written.
    """
    if out.suffix.lower() not in suffixes:
        raise UserError(f"the result should be named *{' or *'.join(suffixes)}, found {out}")
    if out.is_dir():
        raise UserError(f"{out} should be the name of the result, found a folder")
    if out.resolve() in {path.resolve() for path in inputs}:
        raise UserError(f"{out} is read by this command: give the result another name")
    _check_parent(out)


def _check_parent(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name another folder") from None
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"{out} cannot be written (no permission): name another folder")


def check_table(out: Path, inputs: Iterable[Path]) -> None:
    """`check` for a table."""
    check(out, TABLE, inputs)


def check_images(out: Path, inputs: Iterable[Path]) -> None:
    """`check` for images in a tar file, or in a folder that is new or empty.

    Raises:
        UserError: as `check` does, or the folder holds something.
    """
    if out.suffix:
        if out.suffix.lower() != ".tar":
            raise UserError(f"the result should be named *.tar or be a folder without a suffix, found {out}")
        check(out, [".tar"], inputs)
        return
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} should be a new or an empty folder: name another one, or remove it")
    _check_parent(out)


def is_csv(out: Path) -> bool:
    """Whether a table of this name is to be CSV."""
    return out.suffix.lower() == ".csv"


def counted(count: int, noun: str) -> str:
    """`1 face`, `2 faces`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
