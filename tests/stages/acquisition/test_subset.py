import io
import random
import struct
import zipfile

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
