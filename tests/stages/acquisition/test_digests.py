import hashlib
import os

import pytest

from stages.acquisition import digests
from stages.acquisition.digests import DigestCache


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    return path


def test_digests_are_those_of_hashlib(file, tmp_path):
    cache = DigestCache(tmp_path / "cache.json")
    assert cache.digest("a", file) == hashlib.sha256(b"abc").hexdigest()
    assert cache.digest("a", file, "md5") == hashlib.md5(b"abc", usedforsecurity=False).hexdigest()


def test_an_unchanged_file_is_read_once_per_algorithm(file, tmp_path, monkeypatch):
    cache = DigestCache(tmp_path / "cache.json")
    first = cache.digest("a", file), cache.digest("a", file, "sha1")
    cache.save()
    monkeypatch.setattr(digests, "file_digest", lambda *_: pytest.fail("read again"))
    again = DigestCache(tmp_path / "cache.json")
    assert (again.digest("a", file), again.digest("a", file, "sha1")) == first
    assert again.has("a", file)
    assert not again.has("a", file, "md5")


def test_a_changed_file_is_read_again(file, tmp_path):
    cache = DigestCache(tmp_path / "cache.json")
    before = cache.digest("a", file)
    file.write_bytes(b"abd")
    os.utime(file, ns=(1, 1))
    assert not cache.has("a", file)
    assert cache.digest("a", file) != before


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "\x00", '{"a": [[1], {"sha256": "x"}]}'])
def test_an_unreadable_cache_is_ignored(file, tmp_path, text):
    (tmp_path / "cache.json").write_text(text)
    assert DigestCache(tmp_path / "cache.json").digest("a", file) == hashlib.sha256(b"abc").hexdigest()
