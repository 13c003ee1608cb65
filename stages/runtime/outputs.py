"""Outputs of a stage: they are written under a hidden name and appear under their own one whole, all at the end.

What a killed run leaves beside an output is called `.<name>.partial` or `.<name>.gone`. DVC is told to ignore such
names (.dvcignore), and the next run of the stage removes them.
"""

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.runtime import files
from stages.runtime.errors import UserError

FINISHED = "finished.json"  # in a journal: digests of the result's files; it is there once all of them are
LOCK = ".lock"  # in a folder in which one run works at a time


@contextmanager
def replaced(out: Path) -> Generator[Path, None, None]:
    """An empty folder to write to; when the block ends, it takes the place of the folder `out`, in one step.

    When the block raises, `out` stays as it was.

    Raises:
        UserError: another run writes `out`.
    """
    with _partial(out, out.parent) as folder:
        yield folder
        files.sync_all(folder)
        move(folder, out)


@contextmanager
def filled(out: Path) -> Generator[Path, None, None]:
    """An empty folder to write to; when the block ends, all that is in it moves into the folder `out`.

    Each file or folder takes the place of the one of the same name; whatever else is in `out` stays there. When the
    block raises, `out` stays as it was. The empty folder is in `out`, which may be a disk of its own or a link to one.

    Raises:
        UserError: another run writes into `out`.
    """
    is_new = not out.exists()
    try:
        with _partial(out, out) as folder:
            yield folder
            files.sync_all(folder)
            for path in sorted(folder.iterdir()):
                move(path, out / path.name)
            shutil.rmtree(folder)
    except BaseException:
        if is_new:
            with suppress(OSError):  # not empty: something was moved into it
                out.rmdir()
        raise


def move(made: Path, out: Path) -> None:
    """Rename the file or folder `made` to `out`, on the same disk, in the place of what is there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    gone = _gone(out)
    delete(gone)
    if os.path.lexists(out) and made.is_dir():
        out.replace(gone)
    made.replace(out)
    files.sync(out.parent)
    delete(gone)


def remove(path: Path) -> None:
    """Remove a file or folder in one step: under its name it is whole, or not there."""
    gone = _gone(path)
    delete(gone)
    if os.path.lexists(path):
        path.replace(gone)
        delete(gone)


def delete(path: Path) -> None:
    """Remove a file or folder, step by step; nothing happens if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_left_over(path: Path) -> bool:
    """Whether the name is that of something that a killed run has left."""
    return path.name.startswith(".") and path.name.endswith((".partial", ".gone"))


def forget(journal: Path, stage: str, name: str) -> None:
    """Remove a finished result from the journal of its stage (`stages.storage.journals`).

    Who reads it as an output calls this: by then DVC has stored it.
    """
    folder = journal / stage / name
    if not any(folder.glob(f"*/{FINISHED}")):
        return
    with suppress(UserError), alone(folder / LOCK, str(folder)):  # another run that works there removes it at its end
        for marker in folder.glob(f"*/{FINISHED}"):
            remove(marker.parent)


@contextmanager
def alone(lock: Path, what: str) -> Generator[None, None, None]:
    """The work called `what` for this run alone; the operating system unlocks what a killed run had locked.

    Raises:
        UserError: another run holds the file `lock`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        _lock(file.fileno(), what)
        yield


@contextmanager
def _partial(out: Path, parent: Path) -> Generator[Path, None, None]:
    """The empty folder in `parent`, locked; it is removed if the block raises."""
    folder = parent / f".{out.name}.partial"
    number = _own(folder, str(out))
    try:
        for path in (*folder.iterdir(), _gone(out)):
            delete(path)
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(number)


def _own(folder: Path, what: str) -> int:
    """Descriptor of the folder, which is locked as long as that is open."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        number = os.open(folder, os.O_RDONLY)
        try:
            _lock(number, what)
            if folder.exists() and os.path.samestat(os.fstat(number), folder.stat()):
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # another run has just moved it to its place


def _lock(number: int, what: str) -> None:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another run works in {what}: wait until it has ended, or stop it") from None
    except OSError:  # the disk has no locks
        pass


def _gone(path: Path) -> Path:
    return path.with_name(f".{path.name}.gone")
