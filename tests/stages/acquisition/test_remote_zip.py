import random
import re
import struct
import zipfile

import pytest
from hostile_server import answering
from releases import in_parts, zip_bytes
from test_serve_synthetic import serving

from pipelines import serve_synthetic
from stages.acquisition import remote_zip
from stages.acquisition.download import Source
from stages.runtime.errors import UserError

MEMBERS = {
    f"dev/mp4/id{k:05d}/v{n}/00001.mp4": random.Random(f"{k} {n}").randbytes(3000) for k in range(9) for n in range(2)
}


@pytest.fixture
def sources(tmp_path):
    in_parts(tmp_path / "release", "vox2_dev_mp4", zip_bytes(MEMBERS), 4)
    with serving(serve_synthetic.items_of("voxceleb2", tmp_path / "release", tmp_path / "memory.json")) as root:
        yield [Source(f"{root}/voxceleb2/vox2_dev_mp4_parta{letter}") for letter in "abcd"]


def test_each_identity_becomes_a_zip_of_its_members(sources, tmp_path):
    remote_zip.download_identities(sources, ["id00007", "id00002"], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["id00002.zip", "id00007.zip"]
    with zipfile.ZipFile(tmp_path / "out" / "id00002.zip") as archive:
        read = {name: archive.read(name) for name in archive.namelist()}
    assert read == {name: data for name, data in MEMBERS.items() if "/id00002/" in name}


def test_existing_identities_need_no_request(sources, tmp_path):
    remote_zip.download_identities(sources, ["id00002"], tmp_path / "out")
    before = (tmp_path / "out" / "id00002.zip").stat().st_mtime_ns
    nobody_listens = [Source("http://127.0.0.1:9/x")]
    remote_zip.download_identities(nobody_listens, ["id00002"], tmp_path / "out")
    assert (tmp_path / "out" / "id00002.zip").stat().st_mtime_ns == before


def test_unknown_identities_and_incomplete_parts_raise_an_error(sources, tmp_path):
    with pytest.raises(UserError, match="identity 'id99999' should have members"):
        remote_zip.download_identities(sources, ["id99999"], tmp_path / "out")
    with pytest.raises(UserError, match="are not a whole ZIP archive"):
        remote_zip.download_identities(sources[:2], ["id00002"], tmp_path / "out")


def test_a_directory_that_claims_gigabytes_is_not_read(tmp_path):
    large = 2**40
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, large, 0)
    end += struct.pack("<4sIQI", b"PK\6\7", 0, large, 1) + struct.pack(
        "<4s4H2IH", b"PK\5\6", *[0xFFFF] * 4, *[2**32 - 1] * 2, 0
    )
    total = large + len(end)

    def answer(request: bytes) -> list[bytes]:
        start, stop = map(int, re.search(rb"bytes=(\d+)-(\d+)", request).groups())
        stop = min(stop, total - 1)
        body = b"".join(end[at - large : at - large + 1] if at >= large else b"\0" for at in range(start, stop + 1))
        head = f"HTTP/1.1 206 OK\r\nContent-Range: bytes {start}-{stop}/{total}\r\nContent-Length: {len(body)}\r\n\r\n"
        return [head.encode() + body]

    with answering(answer) as url, pytest.raises(UserError, match="not a whole ZIP archive"):
        remote_zip.download_identities([Source(url)], ["id1"], tmp_path)


def test_an_encrypted_member_on_the_server_is_one_sentence(tmp_path):
    data = bytearray(zip_bytes(MEMBERS))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    in_parts(tmp_path / "release", "vox2_dev_mp4", bytes(data), 4)
    with serving(serve_synthetic.items_of("voxceleb2", tmp_path / "release", tmp_path / "memory.json")) as root:
        parts = [Source(f"{root}/voxceleb2/vox2_dev_mp4_parta{letter}") for letter in "abcd"]
        with pytest.raises(UserError, match=r"id00000\.zip cannot be read on the server \(encrypted in the archive"):
            remote_zip.download_identities(parts, ["id00000"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
