"""Files that DVC writes in place, which a kill leaves cut short: `dvc.lock` and `.dvc/tmp/rwlock`.

Then every later run of DVC fails with words that do not tell the way out. This module does not import DVC, which takes
a second.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.runtime.errors import UserError

LOCK = Path("dvc.lock")
RWLOCK = Path(".dvc") / "tmp" / "rwlock"
TRIES, WAIT_S = 5, 0.2  # a run that is just writing the file has written it by then


class _File(BaseModel, strict=True):
    path: str
    hash: str = ""
    md5: str | None = None
    size: int = 0
    nfiles: int = 0
    isexec: bool = False


class _Stage(BaseModel):
    cmd: str | list[str]
    deps: list[_File] = []
    params: dict[str, dict[str, Any]] = {}
    outs: list[_File] = []


class _Lock(BaseModel):
    """What DVC asks of `dvc.lock` (`dvc.schema.LOCKFILE_SCHEMA`)."""

    version: Literal["2.0"] = Field(alias="schema")
    stages: dict[str, _Stage] = {}


def check(root: Path) -> None:
    """Nothing, if DVC can read its files or they are not there.

    Raises:
        UserError: one is empty or cut short; the sentence says the way out.
    """
    for path in found(root):
        was_cut = f"{path} was cut short when a run was killed"
        again = "then run the same command again; nothing is lost"
        if path == root / LOCK:
            raise UserError(
                f"{was_cut}: `git checkout {path}`, or `rm {path}` if it was never committed, {again}, what was "
                "finished comes from DVC's cache"
            )
        raise UserError(f"{was_cut}: if no other run uses this folder, `rm {path}`, {again}")


def found(root: Path) -> Iterator[Path]:
    """The files that are empty or cut short."""
    for path, is_whole in ((root / LOCK, _is_lock), (root / RWLOCK, _is_list_of_files)):
        if path.exists() and not _becomes_whole(path, is_whole):
            yield path


def _becomes_whole(path: Path, is_whole: Callable[[bytes], bool]) -> bool:
    for _ in range(TRIES):
        try:
            if is_whole(path.read_bytes()):
                return True
        except FileNotFoundError:
            return True
        time.sleep(WAIT_S)
    return False


def _is_list_of_files(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def _is_lock(content: bytes) -> bool:
    try:
        _Lock.model_validate(YAML(typ="safe").load(content))
    except (YAMLError, RecursionError, ValueError):
        return False
    return True
