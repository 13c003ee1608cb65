"""Unfinished work of long stages, kept in a journal until the whole result moves into place.

A journal lies under `<root>/<stage>/<name>/<fingerprint>/`. The fingerprint covers everything that the result
depends on, the project's code included, so work of another configuration or version is never continued.
"""

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from stages.runtime.errors import UserError

WHOLE = "whole"  # the folder of a journal in which the result grows
_PROJECT = ("stages", "fabnet")


def folder(root: Path, stage: str, name: str, *ingredients: str | bytes) -> Path:
    """The folder for work that depends on `ingredients` and on the loaded code; it may not exist yet."""
    digest = hashlib.sha256(_code().encode())
    for ingredient in ingredients:
        data = ingredient.encode() if isinstance(ingredient, str) else ingredient
        digest.update(hashlib.sha256(data).digest())
    return root / stage / name / digest.hexdigest()[:16]


@contextmanager
def unfinished(journal: Path, out: Path) -> Generator[Path, None, None]:
    """The folder of `journal` to write the result to; when the block ends, it replaces the folder `out`.

    Then the journal is removed, with older ones of the same stage and name. When the block raises, or the process is
    killed, the journal stays as it is: the next run finds there what was finished.

    Raises:
        UserError: another run works in a journal of the same stage and name.
    """
    with _alone(journal.parent):
        result = journal / WHOLE
        yield result
        _move_into_place(result, out)
        shutil.rmtree(journal.parent, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Generator[None, None, None]:
    """The folder for this run alone. The operating system ends the lock of a run that was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run works in {folder}: wait until it has ended, or stop it") from None
        except OSError:  # the disk has no locks
            pass
        yield


def _move_into_place(result: Path, out: Path) -> None:
    """A kill leaves the result whole in one of the two places; `out` is never half there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    source = result
    if result.stat().st_dev != out.parent.stat().st_dev:
        source = out.with_name(f".{out.name}.partial")
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(result, source)
    if out.exists():
        shutil.rmtree(out)
    source.replace(out)


def _code() -> str:
    """One digest over the source of every project module loaded now."""
    files = {
        Path(file)
        for name, module in list(sys.modules.items())  # a lazy module may import others when it is asked
        if (file := getattr(module, "__file__", None)) and (name.split(".")[0] in _PROJECT or _is_stage_script(module))
    }
    return "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files))


def _is_stage_script(module: object) -> bool:
    """Whether the module is a stage that was started as `python -m stages.<name>`."""
    return str(getattr(getattr(module, "__spec__", None), "name", "")).split(".")[0] in _PROJECT
