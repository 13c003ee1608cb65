import bz2
import gzip
import io
import lzma
import random
import tarfile
import tracemalloc

import pytest
from releases import put, tar_gz

from stages.releases import tars
from stages.runtime.errors import UserError

MEMBERS = {f"a/{k}.jpg": random.Random(k).randbytes(3000 + k) for k in range(9)}
FIRST, SECOND = ({name: MEMBERS[name] for name in names} for names in (list(MEMBERS)[:5], list(MEMBERS)[5:]))


def tar(members=MEMBERS, **options) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(path) -> dict[str, bytes]:
    return {member.name: member.read() for member in tars.members(path)}


WHOLE = {
    "plain": tar(),
    "gzip": gzip.compress(tar()),
    "bzip2": bz2.compress(tar()),
    "xz": lzma.compress(tar()),
    "one archive in several gzip streams": gzip.compress(tar()[:9000]) + gzip.compress(tar()[9000:]),
    "one archive in several bzip2 streams": bz2.compress(tar()[:9000]) + bz2.compress(tar()[9000:]),
    "several compressed archives": gzip.compress(tar(FIRST)) + gzip.compress(tar(SECOND)),
    "several archives": tar(FIRST) + tar(SECOND),
    "appended without the zeros between": tar(FIRST)[: -(-len(tar(FIRST).rstrip(b"\0")) // 512) * 512] + tar(SECOND),
    "extended headers": tar(format=tarfile.PAX_FORMAT, pax_headers={"comment": "made"}),
}


@pytest.mark.parametrize("how", WHOLE)
def test_every_member_is_read_to_the_end_of_the_file(how, tmp_path):
    assert read(put(tmp_path / "x.tar", WHOLE[how])) == MEMBERS


def test_strangers_and_folders_are_left_aside(tmp_path):
    strangers = [
        "a/.DS_Store",
        "a/._0.jpg",
        "__MACOSX/a/._0.jpg",
        "README.md",
        "a/Thumbs.db",
        "a/@eaDir/0.jpg",
        "VISITED",
    ]
    members = {name: data for stranger, item in zip(strangers, MEMBERS.items(), strict=False)
               for name, data in ((stranger, b"x"), item)}  # fmt: skip
    assert read(put(tmp_path / "x.tar", tar(members))) == {
        name: data for name, data in MEMBERS.items() if name in members
    }


def with_flipped_bit(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]


def with_bad_header(data: bytes) -> bytes:
    at = data.index(b"a/4.jpg")
    return data[:at] + b"b" + data[at + 1 :]


CUT = {
    "at a member": tar()[: tar().index(b"a/4.jpg")],
    "within a member": tar()[:9000],
    "within a header": tar()[: tar().index(b"a/4.jpg") + 100],
    "before its end": tar().rstrip(b"\0").ljust(-(-len(tar().rstrip(b"\0")) // 512) * 512, b"\0"),
    "in the middle of its gzip stream": gzip.compress(tar())[:9000],
    "before the checksum of gzip": gzip.compress(tar())[:-8],
    "with a flipped bit in gzip": with_flipped_bit(gzip.compress(tar())),
    "with a flipped bit in the second gzip stream": gzip.compress(tar(FIRST)) + with_flipped_bit(gzip.compress(tar())),
    "with another checksum in gzip": gzip.compress(tar())[:-8] + bytes(8),
    "with a flipped bit in bzip2": with_flipped_bit(bz2.compress(tar())),
    "with a flipped bit in xz": with_flipped_bit(lzma.compress(tar())),
    "with a damaged header": with_bad_header(tar()),
    "with a page behind it": tar() + b"<html>" * 200,
    "which is a page": b"<html>",
    "which is empty": b"",
    "which is half a gzip header": bytes.fromhex("1f8b081f00ed8e"),
    "which is a gzip header of garbage": bytes.fromhex("1f8b08ffff7f9831c234"),
}


@pytest.mark.parametrize("how", CUT)
def test_a_damaged_archive_is_one_sentence_after_its_whole_members(how, tmp_path):
    found: list[tuple[str, bytes]] = []
    with pytest.raises(UserError, match=r"x\.tar is damaged or cut short \(.+\): download it again"):
        found.extend((member.name, member.read()) for member in tars.members(put(tmp_path / "x.tar", CUT[how])))
    if "flipped" not in how:
        assert all(MEMBERS[name] == data for name, data in found)


def test_a_member_that_is_passed_over_is_checked_as_well(tmp_path):
    path = put(tmp_path / "x.tar", gzip.compress(tar())[:-8] + bytes(8))
    with pytest.raises(UserError, match="damaged or cut short"):
        list(tars.members(path))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_regular_file_has_no_content(kind, tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("a/0000025.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    (member,) = tars.members(tmp_path / "x.tar.gz")
    assert (member.name, member.file, member.read()) == ("a/0000025.jpg", None, b"")
    assert member.target == ("/etc/passwd" if kind == tarfile.LNKTYPE else "")


def test_a_bomb_is_refused_before_the_excess_is_read(tmp_path):
    path = tar_gz(tmp_path / "x.tar.gz", {f"{k}.jpg": bytes(10**6) for k in range(5)})
    names = []
    with pytest.raises(UserError, match=r"x\.tar\.gz is refused: it expands more than 200-fold"):
        names.extend(member.name for member in tars.members(path))
    assert names == ["0.jpg"]


def header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("made")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_is_a_bomb_is_refused_unread(kind, tmp_path):
    size = 100_000_000
    path = put(tmp_path / "x.tar.gz", gzip.compress(tar()[: -2 * 512] + header(kind, size) + bytes(size) + tar()))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"x\.tar\.gz is (refused: a header is too large|damaged)"):
        list(tars.members(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
def test_a_member_of_a_negative_size_is_one_sentence(kind, tmp_path):
    with pytest.raises(UserError, match=r"x\.tar is (refused|damaged)"):
        list(tars.members(put(tmp_path / "x.tar", header(kind, -1024) + tar())))


def test_a_chain_of_headers_is_one_sentence(tmp_path):
    text = b"20 path=" + b"a" * 11 + b"\n"
    chain = (header(tarfile.XHDTYPE, len(text)) + text.ljust(512, b"\0")) * 3000
    with pytest.raises(UserError, match=r"x\.tar is (refused|damaged)"):
        list(tars.members(put(tmp_path / "x.tar", chain + tar())))
