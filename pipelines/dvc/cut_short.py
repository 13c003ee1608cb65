"""Files that DVC writes in place, which a kill leaves cut short: `dvc.lock` and `.dvc/tmp/rwlock`.

Then every later run of DVC fails with words that do not tell the way out. This module does not import DVC, which takes
a second.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.runtime.errors import UserError

LOCK = Path("dvc.lock")
RWLOCK = Path(".dvc") / "tmp" / "rwlock"
WAYS_OUT = {
    LOCK: "`git checkout {path}`, or `rm {path}` if it was never committed",
    RWLOCK: "if no other run uses this folder, `rm {path}`",
}
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
    for name, is_whole in CHECKS.items():
        _check(root / name, WAYS_OUT[name], is_whole)


def _check(path: Path, way_out: str, is_whole: Callable[[bytes], bool]) -> None:
    for _ in range(TRIES):
        try:
            if is_whole(path.read_bytes()):
                return
        except FileNotFoundError:
            return
        time.sleep(WAIT_S)
    raise UserError(
        f"{path} was cut short when a run was killed: {way_out.format(path=path)}, then run the same command again; "
        "nothing is lost, what was finished comes from DVC's cache"
    )


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


CHECKS: Mapping[Path, Callable[[bytes], bool]] = {LOCK: _is_lock, RWLOCK: _is_list_of_files}
