import io
import random
import struct
import time
import zipfile
import zlib

import pytest
from releases import in_parts, put, zip_bytes

from stages.acquisition import subset
from stages.releases import archives
from stages.runtime.errors import UserError

MEMBERS = {f"dev/mp4/id{k}/v/{k:05d}.mp4": random.Random(k).randbytes(900 + 7 * k) for k in range(20)}


def read(tmp_path, count: int, parts: int = 5) -> dict[str, bytes]:
    """Contents of the first `count` of `parts` parts, read with their new directory."""
    names = [path.name for path in sorted(tmp_path.glob("release/x_part*"))][:count]
    files = {name: tmp_path / "release" / name for name in names}
    result = subset.with_directory(files, names, tmp_path / "store")
    source = archives.ZipSource("x", tuple(result[name] for name in sorted(result)))
    with archives.open_zip(source) as archive:
        return {info.filename: archives.zip_member(archive, info) for info in archive.infolist()}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_exactly_the_complete_members_are_read(tmp_path, count):
    whole = zip_bytes(MEMBERS)
    in_parts(tmp_path / "release", "x", whole, 5)
    found = read(tmp_path, count)
    present = whole[: count * -(-len(whole) // 5)]
    assert found == {name: data for name, data in MEMBERS.items() if data in present}
    assert found


def test_zip64_sizes_are_read(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in MEMBERS.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                file.write(data)
    in_parts(tmp_path / "release", "x", buffer.getvalue(), 5)
    assert len(read(tmp_path, 2)) > 3


def test_part_that_does_not_begin_with_a_member_raises_an_error(tmp_path):
    put(tmp_path / "release" / "x_partaa", b"<html>")
    with pytest.raises(UserError, match="should begin with complete members of a ZIP archive"):
        read(tmp_path, 1)


def test_sizes_behind_the_data_raise_an_error(tmp_path):
    data = bytearray(zip_bytes(MEMBERS))
    struct.pack_into("<H", data, 6, 8)
    put(tmp_path / "release" / "x_partaa", bytes(data[:5000]))
    with pytest.raises(UserError, match="with their sizes"):
        read(tmp_path, 1)


@pytest.mark.parametrize(("size", "name"), [(0, "x"), (9, "x"), (0, "x" * 900)])
def test_members_far_too_small_for_clips_raise_an_error_soon(tmp_path, size, name):
    data = bytes(size)
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(data), size, size, len(name), 0)
    put(tmp_path / "release" / "x_partaa", (header + name.encode() + data) * (400_000 if len(name) == 1 else 11_000))
    started = time.process_time()
    with pytest.raises(UserError, match=r"x_partaa should hold clips, found 10000 members of \d+ bytes"):
        read(tmp_path, 1)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(("flags", "name"), [(0x800, b"\xff\xfe"), (0, b"\xe9" * 65_000)])
def test_a_member_without_a_readable_name_raises_an_error(tmp_path, flags, name):
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, 0, 0, 0, 0, 0, 0, len(name), 0)
    put(tmp_path / "release" / "x_partaa", header + name + bytes(50))
    with pytest.raises(UserError, match="its member at 0 has no readable name"):
        read(tmp_path, 1)
