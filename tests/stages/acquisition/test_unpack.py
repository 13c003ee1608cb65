import io
import random
import shutil
import stat
import tarfile
import zipfile

import pytest
import rar_files
from releases import put, tar_gz, zip_bytes

from stages.acquisition import rar, unpack
from stages.runtime.errors import UserError

MEMBERS = {f"top/{k % 2}/{k}.jpg": random.Random(k).randbytes(3000 + k) for k in range(9)}
BARE = {f"{k}.csv": random.Random(k).randbytes(50) for k in range(3)}
RAR_PROGRAMS = [name for name in rar.PROGRAMS if shutil.which(name)]


def unpack_all(tmp_path) -> dict[str, bytes]:
    release = tmp_path / "release"
    files = {path.relative_to(release).as_posix(): path for path in release.rglob("*") if path.is_file()}
    rejects = []
    result = {name: path.read_bytes() for name, path in unpack.unpack(files, tmp_path / "store", rejects).items()}
    assert rejects == []
    return result


def zip_volumes(folder, stem: str, data: bytes, count: int):
    size = -(-len(data) // count)
    return [put(folder / f"{stem}.zip.{k + 1:03d}", data[k * size : (k + 1) * size]) for k in range(count)]


def test_archives_are_replaced_by_their_contents_and_other_files_stay(tmp_path):
    put(tmp_path / "release" / "a.zip", zip_bytes(MEMBERS))
    put(tmp_path / "release" / "list.csv", b"x")
    assert unpack_all(tmp_path) == MEMBERS | {"list.csv": b"x"}


def test_archive_without_a_single_top_folder_gets_one_of_its_name(tmp_path):
    put(tmp_path / "release" / "deep" / "lists.zip", zip_bytes(BARE))
    tar_gz(tmp_path / "release" / "more.tar.gz", BARE)
    expected = {f"{folder}/{name}": data for name, data in BARE.items() for folder in ("deep/lists", "more")}
    assert unpack_all(tmp_path) == expected


@pytest.mark.parametrize("volumes", [1, 2, 4])
def test_zip_in_numbered_volumes_is_one_archive(tmp_path, volumes):
    zip_volumes(tmp_path / "release", "300w", zip_bytes(MEMBERS), volumes)
    assert unpack_all(tmp_path) == MEMBERS


def test_archive_is_unpacked_again_only_when_it_changes(tmp_path):
    path = put(tmp_path / "release" / "a.zip", zip_bytes(MEMBERS))
    unpack_all(tmp_path)
    (marker,) = (tmp_path / "store").iterdir()
    put(marker / "top" / "new.txt", b"kept")
    assert unpack_all(tmp_path) == MEMBERS | {"top/new.txt": b"kept"}
    path.unlink()
    put(path, zip_bytes(BARE))
    assert unpack_all(tmp_path) == {f"a/{name}": data for name, data in BARE.items()}
    assert not marker.exists()


def test_killed_unpacking_starts_over(tmp_path):
    put(tmp_path / "release" / "a.zip", zip_bytes(MEMBERS))
    unpack_all(tmp_path)
    (whole,) = (tmp_path / "store").iterdir()
    shutil.rmtree(whole)
    put(whole.with_name(f".{whole.name}.partial") / "top" / "0" / "half.jpg", b"half")
    assert unpack_all(tmp_path) == MEMBERS


def test_second_file_of_the_same_name_is_a_reject(tmp_path):
    put(tmp_path / "release" / "a.zip", zip_bytes(MEMBERS))
    put(tmp_path / "release" / "top" / "0" / "0.jpg", b"mine")
    release = tmp_path / "release"
    files = {path.relative_to(release).as_posix(): path for path in release.rglob("*") if path.is_file()}
    rejects = []
    result = unpack.unpack(files, tmp_path / "store", rejects)
    assert result["top/0/0.jpg"].read_bytes() == b"mine"
    assert [(reject.key, reject.kind) for reject in rejects] == [("top/0/0.jpg", "duplicate file")]


def zip_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("top/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/zeros", bytes(20_000_000))
    return buffer.getvalue()


def tar_with(kind: bytes = tarfile.REGTYPE, size: int = 0, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        info = tarfile.TarInfo("top/made")
        info.type, info.size, info.linkname = kind, size, "/etc/passwd"
        archive.addfile(info, io.BytesIO(bytes(size)))
    return buffer.getvalue()


def tar_named(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def tar_with_link(name: str, target: str) -> bytes:
    """An archive of `top/a` and a hard link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("top/a")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.LNKTYPE, target
        archive.addfile(info)
    return buffer.getvalue()


UNSAFE = {
    "zip with ..": ("a.zip", zip_bytes({"../x": b""}), "leads out"),
    "zip with .. inside": ("a.zip", zip_bytes({"a/../../x": b""}), "leads out"),
    "zip with an absolute path": ("a.zip", zip_bytes({"/etc/x": b""}), "leads out"),
    "zip with a drive": ("a.zip", zip_bytes({"C:/x": b""}), "leads out"),
    "zip with backslashes": ("a.zip", zip_bytes({"..\\x": b""}), "leads out"),
    "zip with a link": ("a.zip", zip_link(), "link or device"),
    "zip bomb": ("a.zip", zip_bomb(), "expands more than"),
    "tar with ..": ("a.tar", tar_named("a/../../x"), "leads out"),
    "tar with an absolute path": ("a.tar", tar_named("/etc/x"), "leads out"),
    "tar with a symbolic link": ("a.tar.gz", tar_with(tarfile.SYMTYPE), "link or device"),
    "tar with a hard link": ("a.tgz", tar_with(tarfile.LNKTYPE), "link or device"),
    "tar with a pipe": ("a.tar.gz", tar_with(tarfile.FIFOTYPE), "link or device"),
    "tar with a hard link to what comes after it": ("a.tar", tar_with_link("top/b", "top/c"), "link or device"),
    "tar with a link that has a file's name": ("a.tar", tar_with_link("top/a", "top/a"), "a is contained twice"),
    "tar with a link to a path that is too long": ("a.tar", tar_with_link("top/b", 4000 * "a/" + "x"), "name too long"),
    "tar.gz bomb": ("a.tar.gz", tar_with(size=20_000_000), "expands more than"),
    "tar.xz bomb": ("a.tar.xz", tar_with(size=20_000_000, mode="w:xz"), "expands more than"),
    "zip with a name that is too long": ("a.zip", zip_bytes({"a/" + 300 * "x": b""}), "name too long"),
    "zip with a path that is too long": (
        "a.zip",
        zip_bytes({200 * "a/123456789012345678/" + "x": b""}),
        "name too long",
    ),
    "tar with a name that is too long": ("a.tar", tar_named("a/" + 300 * "x"), "name too long"),
    "a name twice": ("a.zip", zip_bytes({"a/x": b"1", "a//x": b"2"}), "is contained twice"),
    "a file as a folder": ("a.zip", zip_bytes({"a/x": b"1", "a/x/y": b"2"}), "is contained twice"),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_unsafe_archive_is_refused_and_leaves_no_file(tmp_path, what):
    name, data, problem = UNSAFE[what]
    put(tmp_path / "release" / name, data)
    with pytest.raises(UserError, match=problem) as error:
        unpack_all(tmp_path)
    assert f"{name} is refused: " in str(error.value)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "x").exists()


def split_zip() -> bytes:
    """The last of two pieces."""
    data = bytearray(zip_bytes(MEMBERS))
    end = data.index(b"PK\5\6")
    data[end + 4] = data[end + 6] = 1
    return bytes(data[9000:])


DAMAGED = {
    "a page as zip": ("a.zip", b"<html>login</html>", "is not a whole ZIP archive"),
    "an empty zip file": ("a.zip", b"", "is not a whole ZIP archive"),
    "half a zip": ("a.zip", zip_bytes(MEMBERS)[:9000], "is not a whole ZIP archive"),
    "a page as tar": ("a.tar.gz", b"<html>login</html>", "is damaged or cut short"),
    "half a tar": ("a.tar.gz", tar_with(size=0)[:40], "is damaged or cut short"),
    "a tar cut at a member": ("a.tar", tar_named("a")[:512], "is damaged or cut short"),
    "a tar with another checksum of gzip": ("a.tar.gz", tar_with(size=9)[:-8] + bytes(8), "is damaged or cut short"),
    "the end of a split zip": ("a.zip", split_zip(), r"is a split archive \(\.z01\): join it with `zip -s 0 a\.zip"),
    "the start of a split zip": ("a.z01", b"PK", r"is a split archive \(\.z01\): join it with `zip -s 0 a\.zip"),
    "a page as rar": ("a.rar", b"<html>login</html>", "is not a whole RAR archive"),
    "an empty rar file": ("a.rar", b"", "is not a whole RAR archive"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_archive_raises_an_error(tmp_path, what):
    name, data, problem = DAMAGED[what]
    put(tmp_path / "release" / name, data)
    with pytest.raises(UserError, match=problem):
        unpack_all(tmp_path)


def test_damaged_member_raises_an_error(tmp_path):
    data = bytearray(zip_bytes(MEMBERS))
    data[data.index(MEMBERS["top/0/4.jpg"]) + 7] ^= 255
    put(tmp_path / "release" / "a.zip", bytes(data))
    with pytest.raises(UserError, match="cannot be unpacked \\(damaged in the archive"):
        unpack_all(tmp_path)


def test_missing_volume_is_named(tmp_path):
    zip_volumes(tmp_path / "release", "300w", zip_bytes(MEMBERS), 4)[1].unlink()
    with pytest.raises(UserError, match="volume 2 of 300w is missing"):
        unpack_all(tmp_path)
    shutil.rmtree(tmp_path / "release")
    rar_files.write(tmp_path / "release", "Manually_Annotated", MEMBERS, 3)[0].unlink()
    with pytest.raises(UserError, match="volume 1 of Manually_Annotated is missing"):
        unpack_all(tmp_path)


def test_missing_last_volume_of_a_rar_raises_an_error(tmp_path):
    rar_files.write(tmp_path / "release", "made", MEMBERS, 3)[2].unlink()
    with pytest.raises(UserError, match=r"made\.part01\.rar is not a whole RAR archive"):
        unpack_all(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_rar_with_an_unsafe_name_is_refused_before_a_program_runs(tmp_path, name, monkeypatch):
    monkeypatch.setattr(rar, "extract", lambda *_: pytest.fail("a program runs"))
    rar_files.write(tmp_path / "release", "made", {name: b"x"})
    with pytest.raises(UserError, match="leads out"):
        unpack_all(tmp_path)


def test_rar_with_a_link_is_refused(tmp_path):
    rar_files.write(tmp_path / "release", "made", MEMBERS, link="top/link")
    with pytest.raises(UserError, match="'top/link' is a link or device"):
        unpack_all(tmp_path)


def test_error_without_a_program_for_rar_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    rar_files.write(tmp_path / "release", "made", MEMBERS)
    with pytest.raises(UserError, match="install unrar, 7z or unar, or unpack it yourself"):
        unpack_all(tmp_path)


@pytest.mark.skipif(not RAR_PROGRAMS, reason="no program for RAR is installed")
@pytest.mark.parametrize("count", [1, 3])
def test_rar_in_any_number_of_volumes_is_unpacked(tmp_path, count):
    rar_files.write(tmp_path / "release", "Manually_Annotated", MEMBERS, count)
    assert unpack_all(tmp_path) == MEMBERS


def test_a_program_for_rar_writes_no_more_than_the_list_says(tmp_path, monkeypatch):
    """A program that a damaged archive leads astray; words of the shell stand for it."""
    paths = rar_files.write(tmp_path / "release", "made", MEMBERS)
    (tmp_path / "out").mkdir()
    script = f"#!/bin/sh\nhead -c 1000000 /dev/zero > $7/x\nwc -c < $7/x > {tmp_path}/written\nexit 1\n"
    put(tmp_path / "unrar", script.encode()).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="cannot be unpacked by unrar"):
        rar.extract(paths, rar.members(paths), tmp_path / "out")
    assert int((tmp_path / "written").read_text()) == max(map(len, MEMBERS.values()))


STRANGERS = ["README.txt", "Thumbs.db", "top/.DS_Store", "top/0/._0.jpg", "__MACOSX/top/0/._0.jpg", "top/@eaDir/0.jpg"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_strangers_are_neither_unpacked_nor_counted_as_a_second_top(name, tmp_path):
    members = dict.fromkeys(STRANGERS, b"x") | MEMBERS
    if name == "a.zip":
        put(tmp_path / "release" / name, zip_bytes(members))
    else:
        tar_gz(tmp_path / "release" / name, members)
    assert unpack_all(tmp_path) == MEMBERS
    assert {path.name for path in (tmp_path / "store").rglob("*") if path.is_file()} == {
        name.rpartition("/")[2] for name in MEMBERS
    }


@pytest.mark.skipif(not RAR_PROGRAMS, reason="no program for RAR is installed")
def test_strangers_in_a_rar_are_left_aside(tmp_path):
    rar_files.write(tmp_path / "release", "a", dict.fromkeys(STRANGERS, b"x") | MEMBERS)
    assert unpack_all(tmp_path) == MEMBERS


def test_names_with_backslashes_are_folders_as_on_windows(tmp_path):
    members = {name.replace("/", "\\"): data for name, data in MEMBERS.items()}
    put(tmp_path / "release" / "a.zip", zip_bytes({"top\\": b"", **members}))
    assert unpack_all(tmp_path) == MEMBERS


def test_a_hard_link_to_an_earlier_member_is_that_file(tmp_path):
    put(tmp_path / "release" / "a.tar", tar_with_link("top/b", "top/a"))
    assert unpack_all(tmp_path) == {"top/a": b"abc", "top/b": b"abc"}


def test_gzip_streams_end_to_end_are_one_archive(tmp_path):
    first, second = ({name: MEMBERS[name] for name in names} for names in (list(MEMBERS)[:4], list(MEMBERS)[4:]))
    path = tar_gz(tmp_path / "release" / "a.tar.gz", first)
    path.write_bytes(path.read_bytes() + tar_gz(tmp_path / "b.tar.gz", second).read_bytes())
    assert unpack_all(tmp_path) == MEMBERS


@pytest.mark.skipif(not RAR_PROGRAMS, reason="no program for RAR is installed")
def test_a_missing_volume_of_an_older_rar_is_named(tmp_path):
    first, second, third = rar_files.write(tmp_path / "release", "a", MEMBERS, 3)
    first.rename(first.with_name("a.rar"))
    third.rename(third.with_name("a.r01"))
    second.unlink()
    with pytest.raises(UserError, match="volume 2 of a is missing"):
        unpack_all(tmp_path)
