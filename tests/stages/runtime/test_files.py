import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from stages.runtime.files import read_through, replace_text, whole


def test_a_file_is_there_whole_once_its_block_ends(tmp_path):
    with whole(tmp_path / "deep" / "a.txt") as partial:
        partial.write_text("new", encoding="utf-8")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text(encoding="utf-8") == "new"


def test_an_error_keeps_the_old_file_and_removes_the_unfinished_one(tmp_path):
    replace_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError), whole(tmp_path / "a.txt") as partial:
        partial.write_text("no ASCII: é", encoding="ascii")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_what_a_killed_run_left_is_overwritten(tmp_path):
    (tmp_path / ".a.txt.partial").write_text("half of a longer text", encoding="utf-8")
    replace_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new"


def test_a_file_is_written_into_a_folder_that_may_not_be_listed():
    folder, user = Path(tempfile.mkdtemp()), os.geteuid()
    try:
        folder.chmod(0o300)
        if not user:  # root may list everything
            os.chown(folder, 65_534, -1)
            os.seteuid(65_534)
        replace_text(folder / "a.txt", "new")
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
        names = [path.name for path in folder.iterdir()]
        shutil.rmtree(folder)
    assert names == ["a.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a file whose start cannot be read")
def test_a_disk_that_fails_is_an_error_and_a_missing_file_is_left_to_others(tmp_path):
    (tmp_path / "a").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error") as caught:
        read_through(tmp_path / "a")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "a"))
    read_through(tmp_path / "missing")
