"""Unfinished work of long stages, kept in a journal until the whole result moves into place.

A journal lies under `<root>/<stage>/<name>/<fingerprint>/`. The fingerprint covers everything that the result
depends on, the project's code included, so work of another configuration or version is never continued.
"""

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.runtime import files, outputs

log = logging.getLogger(__name__)

WHOLE = "whole"  # the folder of a journal in which the result grows
FINISHED, LOCK = outputs.FINISHED, outputs.LOCK
_PROJECT = ("stages", "fabnet")


def folder(root: Path, stage: str, name: str, *ingredients: str | bytes) -> Path:
    """The folder for work that depends on `ingredients` and on the loaded code; it may not exist yet."""
    digest = hashlib.sha256(_code().encode())
    for ingredient in ingredients:
        data = ingredient.encode() if isinstance(ingredient, str) else ingredient
        digest.update(hashlib.sha256(data).digest())
    return root / stage / name / digest.hexdigest()[:16]


@contextmanager
def unfinished(
    journal: Path, outs: Mapping[str, Path], *, is_kept: bool = True, takes_over: bool = True
) -> Generator[bool, None, None]:
    """Whether the result is still to be made; when the block ends, it is in its place.

    The block fills folders of `journal`, among them WHOLE. Each then takes the place of the folder that `outs` gives
    it. When the block raises, or the process is killed, the journal stays as it is: the next run finds there what was
    finished. Journals of other fingerprints, of the same stage and name, are removed at the end.

    With `is_kept` the finished result stays in the journal as well, as further names of the same files where the disk
    has hard links, until `outputs.forget` or another result of the stage. For DVC removes outputs that it had not
    stored when a run was killed; the next run takes over what is finished and unchanged.

    Args:
        journal: its folder, see `folder`.
        outs: places of the result, by the names of folders in the journal.
        is_kept: whether the result stays in the journal.
        takes_over: whether a finished result is taken over.

    Raises:
        UserError: another run works in a journal of the same stage and name.
    """
    with outputs.alone(journal.parent / LOCK, str(journal.parent)):
        is_due = not (takes_over and is_finished(journal, outs))
        if is_due:
            _clean(journal)
        yield is_due
        if is_due:
            _finish(journal, outs)
        for name, out in outs.items():
            with outputs.replaced(out) as partial:
                _link_all(journal / name, partial)
        if not is_due:
            log.info("%s: taken over, it was finished before", ", ".join(map(str, outs.values())))
        kept = {journal} if is_kept else set[Path]()
        _remove_others(journal.parent, {*kept, journal.parent / LOCK})
        if is_kept:
            _remove_others(journal, {journal / FINISHED, *(journal / name for name in outs)})


def is_finished(journal: Path, outs: Mapping[str, Path]) -> bool:
    """Whether the journal holds a whole result for these places, unchanged since it was finished."""
    path = journal / FINISHED
    return path.exists() and path.read_bytes() == _told(journal, outs).encode()


def put_aside(path: Path, what: str) -> None:
    """Rename a file that is damaged, so that what it held is made again, and say so; `what`: the file in words."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    log.info("%s is damaged: it is kept as %s, and made again", what, aside)


def _clean(journal: Path) -> None:
    """Remove what a killed run has left half written, or changed after it was finished."""
    if (journal / FINISHED).exists():
        outputs.remove(journal)
    for path in [path for path in journal.parent.rglob(".*") if outputs.is_left_over(path)]:
        outputs.delete(path)


def _finish(journal: Path, outs: Mapping[str, Path]) -> None:
    """Mark the result as finished: all of it is on the disk from now on."""
    for name in outs:
        files.sync_all(journal / name)
    files.replace_text(journal / FINISHED, _told(journal, outs))


def _told(journal: Path, outs: Mapping[str, Path]) -> str:
    """What FINISHED holds: for every folder of the result its place, and sha256 of its files by name."""
    told: dict[str, dict[str, Any]] = {}
    for name, out in outs.items():
        paths = sorted(path for path in (journal / name).rglob("*") if path.is_file())
        digests = {path.relative_to(journal).as_posix(): files.file_digest(path) for path in paths}
        told[name] = {"out": str(out), "sha256": digests}
    return json.dumps(told, indent=1, sort_keys=True)


def _link_all(folder: Path, out: Path) -> None:
    """Give every file of the folder a further name in `out`; the error of a disk is raised as the system gave it."""
    for path in sorted(folder.rglob("*")):
        target = out / path.relative_to(folder)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            _link(path, target)


def _link(source: Path, target: Path) -> None:
    """Give the file a further name, or copy it where that is not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _remove_others(folder: Path, kept: Collection[Path]) -> None:
    for path in list(folder.iterdir()):
        if path not in kept:
            outputs.remove(path)


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
