import io
import pickle
import random
import tarfile
import zipfile

import pytest
from releases import in_parts, put, tar_gz, zip_bytes

from stages.releases import archives
from stages.releases.readers import Reject
from stages.runtime.errors import Rejected, UserError

MEMBERS = {f"dev/mp4/id{k}/v/{k:05d}.mp4": random.Random(k).randbytes(1000 + k) for k in range(12)}


def only(folder):
    (source,) = archives.zip_sources(folder)
    return source


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_members_are_read_from_any_number_of_parts(tmp_path, parts):
    in_parts(tmp_path, "vox2_dev_mp4", zip_bytes(MEMBERS), parts)
    with archives.open_zip(only(tmp_path)) as archive:
        assert {info.filename: archives.zip_member(archive, info) for info in archive.infolist()} == MEMBERS


@pytest.mark.parametrize("missing", ["aa", "ab", "ac"])
def test_part_missing_before_others_is_named(tmp_path, missing):
    in_parts(tmp_path, "vox2_dev_mp4", zip_bytes(MEMBERS), 4)
    (tmp_path / f"vox2_dev_mp4_part{missing}").unlink()
    with pytest.raises(UserError, match=f"vox2_dev_mp4_part{missing} is missing"):
        archives.zip_sources(tmp_path)


def test_missing_last_part_is_named(tmp_path):
    in_parts(tmp_path, "vox2_dev_mp4", zip_bytes(MEMBERS), 3)[-1].unlink()
    with pytest.raises(UserError, match="vox2_dev_mp4_partac is missing"):
        archives.open_zip(only(tmp_path))


def test_part_that_is_too_short_raises_an_error(tmp_path):
    first, *_ = in_parts(tmp_path, "vox2_dev_mp4", zip_bytes(MEMBERS), 3)
    first.write_bytes(first.read_bytes()[:-100])
    with pytest.raises(UserError, match="bytes are missing or too many"):
        archives.open_zip(only(tmp_path))


def test_file_that_is_not_a_zip_raises_an_error(tmp_path):
    put(tmp_path / "vox2_dev_mp4.zip", b"<html>login</html>")
    with pytest.raises(UserError, match=r"vox2_dev_mp4\.zip is not a whole ZIP archive"):
        archives.open_zip(only(tmp_path))


def test_whole_archive_is_read_instead_of_its_parts(tmp_path):
    data = zip_bytes(MEMBERS)
    in_parts(tmp_path, "vox2_dev_mp4", data, 2)
    put(tmp_path / "vox2_dev_mp4.zip", data)
    assert [path.name for path in only(tmp_path).paths] == ["vox2_dev_mp4.zip"]


def test_only_the_damaged_member_is_rejected(tmp_path):
    data = bytearray(zip_bytes(MEMBERS))
    at = data.index(MEMBERS["dev/mp4/id3/v/00003.mp4"])
    data[at + 50] ^= 255
    put(tmp_path / "x.zip", bytes(data))
    with archives.open_zip(only(tmp_path)) as archive:
        with pytest.raises(Rejected, match="damaged in the archive"):
            archives.zip_member(archive, archive.getinfo("dev/mp4/id3/v/00003.mp4"))
        assert (
            archives.zip_member(archive, archive.getinfo("dev/mp4/id4/v/00004.mp4"))
            == MEMBERS["dev/mp4/id4/v/00004.mp4"]
        )


@pytest.mark.parametrize("parts", [1, 3])
def test_another_process_reads_a_member_without_the_list_of_members(parts, tmp_path):
    in_parts(tmp_path, "vox2_dev_mp4", zip_bytes(MEMBERS), parts)
    members = pickle.loads(pickle.dumps(archives.zip_members(only(tmp_path))))
    assert [member.name for member in members] == sorted(MEMBERS)
    assert {member.name: member.read() for member in members[::-1]} == MEMBERS
    opened = archives._unlisted.cache_info().currsize
    assert 0 < opened <= 2


def test_a_member_of_an_archive_that_was_replaced_is_read_from_the_new_one(tmp_path):
    data = bytearray(zip_bytes(MEMBERS))
    at = data.index(MEMBERS["dev/mp4/id3/v/00003.mp4"])
    path = put(tmp_path / "x.zip", bytes(data[: at + 50] + b"?" + data[at + 51 :]))
    damaged = next(member for member in archives.zip_members(only(tmp_path)) if "id3/" in member.name)
    with pytest.raises(Rejected, match=r"damaged in the archive: Bad CRC-32 for file 'dev/mp4/id3/v/00003\.mp4'"):
        damaged.read()
    put(tmp_path / "new.zip", bytes(data)).replace(path)
    assert damaged.read() == MEMBERS[damaged.name]


def test_an_archive_that_was_removed_meanwhile_is_a_user_error(tmp_path):
    in_parts(tmp_path, "vox2_dev_mp4", zip_bytes(MEMBERS), 3)
    member = archives.zip_members(only(tmp_path))[0]
    (tmp_path / "vox2_dev_mp4_partab").unlink()
    with pytest.raises(UserError, match="vox2_dev_mp4_partab is gone: put it back"):
        member.read()


def test_member_with_a_huge_size_is_rejected_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 100)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mp4", bytes(10**6))
    put(tmp_path / "x.zip", buffer.getvalue())
    with archives.open_zip(only(tmp_path)) as archive, pytest.raises(Rejected, match="too large"):
        archives.zip_member(archive, archive.infolist()[0])


def test_tar_is_read_in_its_order_with_unsafe_names_as_rejects(tmp_path):
    path = tar_gz(tmp_path / "x.tar.gz", {"b": b"1", "../a": b"2", "/etc/x": b"3", "c/d": b"4"})
    items = list(archives.tar_members(path))
    assert [item for item in items if isinstance(item, tuple)] == [("b", b"1"), ("c/d", b"4")]
    assert {item.key for item in items if isinstance(item, Reject)} == {"../a", "/etc/x"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_rejects(kind, tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("a/1.6/v/0000025.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert list(archives.tar_members(tmp_path / "x.tar.gz")) == [
        Reject("a/1.6/v/0000025.jpg", "not a regular file in the archive")
    ]


def test_tar_bomb_is_refused_before_the_excess_is_read(tmp_path):
    path = tar_gz(tmp_path / "x.tar.gz", {f"{k}.jpg": bytes(10**6) for k in range(5)})
    names = []
    with pytest.raises(UserError, match=r"x\.tar\.gz is refused: it expands more than 200-fold"):
        names.extend(name for name, _ in archives.tar_members(path))
    assert names == ["0.jpg"]


def test_zip_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dev/mp4/id1/v/1.mp4", bytes(20_000_000))
    with pytest.raises(UserError, match=r"x\.zip is refused: it expands more than 200-fold"):
        archives.open_zip(only(tmp_path))


def test_truncated_tar_raises_an_error_after_its_whole_members(tmp_path):
    path = tar_gz(tmp_path / "x.tar.gz", {f"{k}": random.Random(k).randbytes(5000) for k in range(10)})
    path.write_bytes(path.read_bytes()[:25_000])
    names = []
    with pytest.raises(UserError, match="damaged or cut short"):
        names.extend(name for name, _ in archives.tar_members(path))
    put(tmp_path / "y.tar.gz", b"<html>")
    with pytest.raises(UserError, match="damaged or cut short"):
        list(archives.tar_members(tmp_path / "y.tar.gz"))
