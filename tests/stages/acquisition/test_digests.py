import hashlib
import os

import pytest

from stages.acquisition import digests
from stages.acquisition.digests import Memory


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    return path


def test_digests_are_those_of_hashlib(file, tmp_path):
    memory = Memory(tmp_path / "memory.json")
    assert memory.digest("a", file) == hashlib.sha256(b"abc").hexdigest()
    assert memory.digest("a", file, "md5") == hashlib.md5(b"abc", usedforsecurity=False).hexdigest()


def test_an_unchanged_file_is_read_once_per_algorithm(file, tmp_path, monkeypatch):
    memory = Memory(tmp_path / "memory.json")
    first = memory.digest("a", file), memory.digest("a", file, "sha1")
    memory.save()
    monkeypatch.setattr(digests, "file_digest", lambda *_: pytest.fail("read again"))
    again = Memory(tmp_path / "memory.json")
    assert (again.digest("a", file), again.digest("a", file, "sha1")) == first
    assert again.has("a", file)
    assert not again.has("a", file, "md5")


def test_a_changed_file_is_read_again(file, tmp_path):
    memory = Memory(tmp_path / "memory.json")
    before = memory.digest("a", file)
    file.write_bytes(b"abd")
    os.utime(file, ns=(1, 1))
    assert not memory.has("a", file)
    assert memory.digest("a", file) != before


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "\x00", '{"a": [[1], {"sha256": "x"}]}'])
def test_a_memory_that_cannot_be_read_is_no_memory(file, tmp_path, text):
    (tmp_path / "memory.json").write_text(text)
    assert Memory(tmp_path / "memory.json").digest("a", file) == hashlib.sha256(b"abc").hexdigest()
