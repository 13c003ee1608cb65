import errno
import io
import pickle
import random
import tracemalloc
import zipfile
import zlib
from string import ascii_lowercase

import pytest
from releases import in_parts, put, zip_bytes

from stages.releases import archives
from stages.runtime import limits
from stages.runtime.errors import Rejected, UserError
from stages.runtime.limits import Limits

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
    monkeypatch.setattr(limits, "_now", Limits(file_mib=1e-4))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mp4", bytes(10**6))
    put(tmp_path / "x.zip", buffer.getvalue())
    with archives.open_zip(only(tmp_path)) as archive, pytest.raises(Rejected, match="too large"):
        archives.zip_member(archive, archive.infolist()[0])


def test_a_member_may_be_as_large_as_the_largest_file_and_no_larger(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_now", Limits(file_mib=100 / 2**20))
    put(tmp_path / "x.zip", zip_bytes({"a": bytes(100), "b": bytes(101)}))
    fits, large = archives.zip_members(only(tmp_path))
    assert fits.read() == bytes(100)
    with pytest.raises(Rejected, match="file too large: 101 bytes, at most 100 are read"):
        large.read()


@pytest.mark.parametrize(("packed", "allowed"), [(0, 2**20), (5000, 2**20), (10_000, 2_000_000)])
def test_an_archive_may_expand_200_fold_or_to_a_mebibyte(packed, allowed):
    budget = archives.Budget(packed)
    budget.spend(allowed - 7)
    budget.spend(7)
    with pytest.raises(Rejected, match="it expands more than 200-fold"):
        budget.spend(1)


def test_damage_is_told_from_a_failing_disk():
    assert all(map(archives.is_damage, (zlib.error(), EOFError(), OSError("by a library"), OSError(errno.EINVAL, ""))))
    assert not any(map(archives.is_damage, (OSError(errno.EIO, ""), FileNotFoundError(errno.ENOENT, ""), NameError())))


def test_parts_are_lettered_from_aa_to_zz(tmp_path):
    assert [archives.following_part(f"x_part{letters}") for letters in ("aa", "az", "by")] == [
        "x_partab", "x_partba", "x_partbz",
    ]  # fmt: skip
    for letters in [*(f"a{letter}" for letter in ascii_lowercase), "ba", "bb"]:
        put(tmp_path / f"x_part{letters}", b"")
    assert only(tmp_path).paths[-1].name == "x_partbb"
    (tmp_path / "x_partaz").unlink()
    with pytest.raises(UserError, match="x_partaz is missing: expected x_partaa to x_partbb without a gap"):
        archives.zip_sources(tmp_path)


def test_zip_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dev/mp4/id1/v/1.mp4", bytes(20_000_000))
    with pytest.raises(UserError, match=r"x\.zip is refused: it expands more than 200-fold"):
        archives.open_zip(only(tmp_path))


def damaged_member(method: int, *, declared: int | None = None, content: bytes = bytes(5000)) -> bytes:
    """An archive of one member, whose packed bytes are spoilt, or whose list declares another size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a/x", content)
        packed = archive.getinfo("a/x").compress_size
        if declared is not None:
            archive.getinfo("a/x").file_size = declared
    data = bytearray(buffer.getvalue())
    if declared is None:
        data[33 : 33 + packed] = bytes(range(1, 256)) * (packed // 255) + bytes(range(1, packed % 255 + 1))
    return bytes(data)


def test_a_spoilt_member_is_rejected(tmp_path):
    put(tmp_path / "x.zip", damaged_member(zipfile.ZIP_DEFLATED))
    (member,) = archives.zip_members(only(tmp_path))
    with pytest.raises(Rejected, match="damaged in the archive"):
        member.read()


@pytest.mark.parametrize(("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")])
def test_a_member_that_unpacks_without_a_limit_is_rejected_unread(method, name, tmp_path):
    put(tmp_path / "x.zip", damaged_member(method))
    (member,) = archives.zip_members(only(tmp_path))
    with pytest.raises(Rejected, match=f"not read: by {name}: unpack it, and pack it again with `zip -r`"):
        member.read()


def test_no_more_is_unpacked_than_the_list_says(tmp_path):
    put(tmp_path / "x.zip", damaged_member(zipfile.ZIP_DEFLATED, declared=1000, content=bytes(100_000_000)))
    (member,) = archives.zip_members(only(tmp_path))
    tracemalloc.start()
    with pytest.raises(Rejected, match="damaged in the archive"):
        member.read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_an_encrypted_member_is_rejected_by_that_name(tmp_path):
    data = bytearray(zip_bytes({"a/x": b"1234"}))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    put(tmp_path / "x.zip", bytes(data))
    (member,) = archives.zip_members(only(tmp_path))
    with pytest.raises(Rejected, match="encrypted in the archive"):
        member.read()


def test_strangers_and_folders_are_no_members(tmp_path):
    strangers = ["__MACOSX/a/._x.mp4", "a/.DS_Store", "README.txt", "a/Thumbs.db", "b\\", "c/"]
    put(tmp_path / "x.zip", zip_bytes({"a/x.mp4": b"1", **dict.fromkeys(strangers, b"")}))
    assert [member.name for member in archives.zip_members(only(tmp_path))] == ["a/x.mp4"]


def test_a_member_without_a_name_stops_nothing(tmp_path):
    data = zip_bytes({"n": b"1", "a/x": b"2"})
    at, listed = data.index(b"n"), data.rindex(b"n")
    central = data.index(b"PK\1\2")
    data = bytearray(data[:listed] + data[listed + 1 :])
    data[central + 28] = 0
    end = data.index(b"PK\5\6")
    data[end + 12] -= 1
    assert at < central
    put(tmp_path / "x.zip", bytes(data))
    assert [member.name for member in archives.zip_members(only(tmp_path))] == ["", "a/x"]


def test_a_name_in_damaged_utf8_is_one_sentence(tmp_path):
    put(tmp_path / "x.zip", zip_bytes({"a/ü": b"1"}).replace("ü".encode(), b"\xff\xfe"))
    with pytest.raises(UserError, match=r"x\.zip names a member in damaged UTF-8"):
        archives.open_zip(only(tmp_path))


def test_members_that_lie_in_each_other_are_refused(tmp_path):
    data = bytearray(zip_bytes({"a": bytes(100), "b": bytes(100)}))
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    data[second + 42 : second + 46] = (20).to_bytes(4, "little")  # where it begins
    put(tmp_path / "x.zip", bytes(data))
    with pytest.raises(UserError, match=r"x\.zip is refused: two of its members lie in each other"):
        archives.open_zip(only(tmp_path))


@pytest.mark.parametrize("with_first_piece", [True, False])
def test_error_about_a_split_archive_says_how_to_join_it(with_first_piece, tmp_path):
    data = bytearray(zip_bytes(MEMBERS))
    end = data.index(b"PK\5\6")
    data[end + 4] = data[end + 6] = 1  # the number of the last piece, and of the one with the list
    put(tmp_path / "vox2_dev_mp4.zip", bytes(data[6000:]))
    if with_first_piece:
        put(tmp_path / "vox2_dev_mp4.z01", b"PK\7\10" + bytes(data[:6000]))
    with pytest.raises(
        UserError, match=r"is a split archive \(\.z01\): join it with `zip -s 0 vox2_dev_mp4\.zip --out "
    ):
        archives.open_zip(only(tmp_path))
