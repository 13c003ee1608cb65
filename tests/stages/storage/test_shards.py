import resource
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stages.runtime.errors import UserError
from stages.storage.shards import Shards, ShardWriter, shard_name


def blobs(count: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(rng.integers(1, 3000))) for _ in range(count)]


def write(folder, *of_shards: list[bytes]) -> list[tuple[str, int, int]]:
    """The members' places, after each list was written to a shard of its own."""
    places = []
    for number, members in enumerate(of_shards):
        name = shard_name(number)
        with ShardWriter(folder / name) as writer:
            places += [(name, writer.add(f"{number}/{k}.jpg", data), len(data)) for k, data in enumerate(members)]
    return places


def open_files() -> int:
    """How many this process has."""
    return len(list(Path("/dev/fd").iterdir()))


def test_every_member_is_read_by_shard_offset_and_size(tmp_path):
    members = [blobs(10, seed) for seed in range(5)]
    places = write(tmp_path, *members)
    with Shards(tmp_path) as shards:
        assert [shards.read(*place) for place in places] == [data for of_shard in members for data in of_shard]


def test_tarfile_reads_the_same_members(tmp_path):
    members = blobs(4)
    write(tmp_path, members)
    with tarfile.open(tmp_path / "00000.tar") as tar:
        assert tar.getnames() == [f"0/{k}.jpg" for k in range(4)]
        member = tar.extractfile("0/3.jpg")
        assert member is not None
        assert member.read() == members[3]


def test_equal_content_gives_equal_bytes(tmp_path):
    write(tmp_path / "a", blobs(5))
    write(tmp_path / "b", blobs(5))
    assert (tmp_path / "a" / "00000.tar").read_bytes() == (tmp_path / "b" / "00000.tar").read_bytes()


def test_a_file_that_was_there_before_is_replaced(tmp_path):
    write(tmp_path / "fresh", blobs(1))
    write(tmp_path / "old", blobs(9, seed=3))
    write(tmp_path / "old", blobs(1))
    assert (tmp_path / "old" / "00000.tar").read_bytes() == (tmp_path / "fresh" / "00000.tar").read_bytes()


def test_long_and_non_ascii_names_are_kept(tmp_path):
    name = "/".join(["ü" * 40] * 5) + ".jpg"
    with ShardWriter(tmp_path / "00000.tar") as writer:
        offset = writer.add(name, b"pixels")
    with tarfile.open(tmp_path / "00000.tar") as tar:
        assert tar.getnames() == [name]
    with Shards(tmp_path) as shards:
        assert shards.read("00000.tar", offset, 6) == b"pixels"


def test_many_threads_read_the_same_bytes(tmp_path):
    members = blobs(200)
    places = write(tmp_path, members)
    with Shards(tmp_path) as shards, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda place: shards.read(*place), places)) == members


def test_more_shards_are_read_than_files_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    members = [blobs(2, seed) for seed in range(30)]
    places = write(tmp_path, *members) * 3
    before = open_files()
    with Shards(tmp_path) as shards, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: shards.read(*place), places))
        assert open_files() <= before + 4
    assert found == [data for of_shard in members for data in of_shard] * 3
    assert open_files() == before


def test_a_missing_or_shortened_shard_is_a_user_error(tmp_path):
    with Shards(tmp_path) as shards:
        with pytest.raises(UserError, match=r"00000\.tar is missing"):
            shards.read("00000.tar", 0, 1)
        write(tmp_path, [b"x" * 100])
        with pytest.raises(UserError, match="cut short"):
            shards.read("00000.tar", 0, 10**6)
