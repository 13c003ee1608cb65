"""`dvc.lock` cut anywhere: DVC can read what is left, or the check says that it cannot."""

from pathlib import Path

import pytest
from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.utils.serialize import parse_yaml

from pipelines.dvc import cut_short
from stages.runtime.errors import UserError

LOCK = b"""schema: '2.0'
stages:
  split:
    cmd: python -m stages.split --tracks data/tracks
    deps:
    - path: data/tracks
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 1200
      nfiles: 3
    params:
      params.yaml:
        seed: 7
        split:
          track_val: 0.15
    outs:
    - path: data/splits
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 12
      isexec: true
"""


def is_read_by_dvc(content: bytes) -> bool:
    try:
        Lockfile.validate(parse_yaml(content.decode(), "dvc.lock"), "dvc.lock")
    except DvcException:
        return False
    return True


def test_wherever_the_lock_is_cut_what_dvc_cannot_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cut_short, "TRIES", 1)
    monkeypatch.setattr(cut_short, "WAIT_S", 0.0)
    told = set[int]()
    for end in range(len(LOCK) + 1):
        (tmp_path / "dvc.lock").write_bytes(LOCK[:end])
        try:
            cut_short.check(tmp_path)
        except UserError:
            told.add(end)
    unread = {end for end in range(len(LOCK) + 1) if not is_read_by_dvc(LOCK[:end])}
    assert told >= unread
    assert len(told - unread) < len(LOCK) / 20
    assert len(LOCK) not in told


def test_a_lock_that_is_not_there_is_none(tmp_path: Path):
    cut_short.check(tmp_path)
