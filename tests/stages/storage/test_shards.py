import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stages.runtime.errors import UserError
from stages.storage.shards import Mark, Shards, ShardWriter


def blobs(count: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(rng.integers(1, 3000))) for _ in range(count)]


def write(folder, groups, limit=4096, mark=None):
    writer = ShardWriter(folder, limit, mark)
    places = []
    for number, group in enumerate(groups):
        writer.begin_group()
        places += [(*writer.add(f"{number}/{k}.jpg", data), len(data)) for k, data in enumerate(group)]
    writer.close()
    return places


def test_every_member_is_read_by_shard_offset_and_size(tmp_path):
    groups = [blobs(3, seed) for seed in range(20)]
    places = write(tmp_path, groups)
    with Shards(tmp_path) as shards:
        assert [shards.read(*place) for place in places] == [data for group in groups for data in group]


def test_tarfile_reads_the_same_members(tmp_path):
    groups = [blobs(2, seed) for seed in range(3)]
    write(tmp_path, groups, limit=10**6)
    with tarfile.open(tmp_path / "00000.tar") as tar:
        assert tar.getnames() == [f"{n}/{k}.jpg" for n in range(3) for k in range(2)]
        member = tar.extractfile("2/1.jpg")
        assert member is not None
        assert member.read() == groups[2][1]


def test_a_group_never_spans_two_shards_and_shards_stay_near_the_limit(tmp_path):
    groups = [blobs(4, seed) for seed in range(30)]
    places = write(tmp_path, groups, limit=10_000)
    shards = [place[0] for place in places]
    assert all(len(set(shards[at : at + 4])) == 1 for at in range(0, len(shards), 4))
    largest_group = max(sum(len(data) + 1024 for data in group) for group in groups)
    assert max(path.stat().st_size for path in tmp_path.glob("*.tar")) < 10_000 + largest_group + 1024
    assert len(set(shards)) > 2


def test_equal_content_gives_equal_bytes(tmp_path):
    groups = [blobs(2, seed) for seed in range(5)]
    write(tmp_path / "a", groups)
    write(tmp_path / "b", groups)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_a_writer_continues_from_a_mark_and_removes_what_follows_it(tmp_path):
    groups = [blobs(2, seed) for seed in range(12)]
    write(tmp_path / "whole", groups)
    writer = ShardWriter(tmp_path / "torn", 4096)
    mark = Mark()
    for number, group in enumerate(groups):
        if number == 5:
            mark = writer.mark
        writer.begin_group()
        for k, data in enumerate(group):
            writer.add(f"{number}/{k}.jpg", data)
    writer.abandon()
    again = ShardWriter(tmp_path / "torn", 4096, mark)
    for number, group in list(enumerate(groups))[5:]:
        again.begin_group()
        for k, data in enumerate(group):
            again.add(f"{number}/{k}.jpg", data)
    again.close()
    for path in sorted((tmp_path / "whole").iterdir()):
        assert (tmp_path / "torn" / path.name).read_bytes() == path.read_bytes()


def test_long_and_non_ascii_names_are_kept(tmp_path):
    name = "/".join(["ü" * 40] * 5) + ".jpg"
    writer = ShardWriter(tmp_path, 4096)
    place = writer.add(name, b"pixels")
    writer.close()
    with tarfile.open(tmp_path / "00000.tar") as tar:
        assert tar.getnames() == [name]
    with Shards(tmp_path) as shards:
        assert shards.read(*place, 6) == b"pixels"


def test_many_threads_read_the_same_bytes(tmp_path):
    groups = [blobs(1, seed) for seed in range(200)]
    places = write(tmp_path, groups)
    with Shards(tmp_path) as shards, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda place: shards.read(*place), places)) == [group[0] for group in groups]


def test_a_missing_or_shortened_shard_is_a_user_error(tmp_path):
    with Shards(tmp_path) as shards:
        with pytest.raises(UserError, match=r"00000\.tar is missing"):
            shards.read("00000.tar", 0, 1)
        write(tmp_path, [[b"x" * 100]])
        with pytest.raises(UserError, match="cut short"):
            shards.read("00000.tar", 0, 10**6)
