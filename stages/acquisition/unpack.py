"""Unpack the archives of a release: ZIP (whole or .001, .002, ...), tar (compressed or not), RAR in volumes.

An archive is refused as a whole if it contains a path outside its folder, a link out of it or a device, or expands
further than `limits.expansion` allows. It is unpacked once, into a folder whose name is a digest of its files' names,
sizes and times.
"""

import errno
import hashlib
import logging
import os
import re
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from stages.acquisition import rar
from stages.releases import tars
from stages.releases.archives import Budget, ZipSource, check_not_split, open_zip, zip_chunks, zip_files
from stages.releases.readers import Reject, printable, safe_path
from stages.releases.strangers import is_stranger
from stages.releases.tars import TarMember
from stages.runtime import progress
from stages.runtime.errors import Rejected, UserError
from stages.runtime.files import file_identity

log = logging.getLogger(__name__)

_CHUNK = 2**20
_VOLUME = re.compile(
    r"(?P<stem>.+?)(?:\.part(?P<part>\d+)\.rar|\.r(?P<further>\d\d)|\.zip\.(?P<piece>\d{3}))", re.IGNORECASE
)
_WHOLE = re.compile(r"(?P<stem>.+?)\.(?P<kind>zip|rar|tar|tgz|tbz2|txz|tar\.(?:gz|bz2|xz))", re.IGNORECASE)


@dataclass(frozen=True)
class Archive:
    """One archive: its name within the release, and its volumes in order."""

    name: str  # without suffix
    kind: str  # zip, rar or tar
    paths: tuple[Path, ...]

    def budget(self) -> Budget:
        """How many bytes may be unpacked."""
        return Budget(sum(path.stat().st_size for path in self.paths))


def unpack(files: Mapping[str, Path], store: Path, rejects: list[Reject]) -> dict[str, Path]:
    """`files` with every archive replaced by its contents, which are kept in `store`.

    Names are those of unpacking in place; the contents of an archive without a single top folder get one of its name.
    Of two files with the same name the first is kept, the second is added to `rejects`.

    Raises:
        UserError: an archive is unsafe or damaged, or lacks a volume or the program to unpack it.
    """
    archives = list(find_archives(files))
    packed = {path for archive in archives for path in archive.paths}
    result = {name: path for name, path in files.items() if path not in packed}
    folders = {archive.name: store / _fingerprint(archive) for archive in archives}
    _remove_others(store, set(folders.values()))
    for archive in progress.track(archives, len(archives), "unpacking", "archives") if archives else ():
        _unpack_once(archive, folders[archive.name])
        for name, path in _contents(archive, folders[archive.name]):
            if name in result:
                rejects.append(Reject(name, "duplicate file", f"the one in {archive.name} is ignored"))
            else:
                result[name] = path
    return dict(sorted(result.items()))


def find_archives(files: Mapping[str, Path]) -> Iterator[Archive]:
    """The archives among `files`, sorted by name.

    Raises:
        UserError: a volume is missing before another one, or a split archive is not joined.
    """
    volumes: defaultdict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for name, path in files.items():
        check_not_split(path.with_name(PurePosixPath(name).name))
        if match := _VOLUME.fullmatch(name):
            kind, number = _volume(match)
            volumes[match["stem"], kind][number] = path
        elif match := _WHOLE.fullmatch(name):
            kind = match["kind"].lower()
            volumes[match["stem"], kind if kind in ("zip", "rar") else "tar"][1] = path
    for (stem, kind), by_number in sorted(volumes.items()):
        if missing := set(range(1, max(by_number) + 1)) - set(by_number):
            last = by_number[max(by_number)].name
            raise UserError(f"volume {min(missing)} of {stem} is missing: put all volumes before {last} beside it")
        yield Archive(stem, kind, tuple(path for _, path in sorted(by_number.items())))


def _volume(match: re.Match[str]) -> tuple[str, int]:
    """Kind and number of a volume; older RAR archives are `x.rar`, `x.r00`, `x.r01`, ..."""
    if match["further"]:
        return "rar", 2 + int(match["further"])
    return ("rar", int(match["part"])) if match["part"] else ("zip", int(match["piece"]))


def _unpack_once(archive: Archive, folder: Path) -> None:
    """Unpack into `folder`: completely, or not at all."""
    if folder.exists():
        return
    unfinished = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    log.info("unpacking %s", archive.paths[0].name)
    unpackers = {"zip": _unpack_zip, "tar": _unpack_tar, "rar": _unpack_rar}
    try:
        unpackers[archive.kind](archive, unfinished)
        os.sync()  # there may be hundreds of thousands of files: at once rather than one by one
        unfinished.rename(folder)
    except Rejected as error:
        raise UserError(f"{archive.paths[0]} is refused: {error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unpack_zip(archive: Archive, folder: Path) -> None:
    with open_zip(ZipSource(archive.paths[0].name, archive.paths)) as opened:
        members = zip_files(opened)
        for info in members:
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise Rejected(f"{printable(info.filename)!r} is a link or device")
        for info in members:
            _write(_target(folder, info.filename), _whole_member(archive, zip_chunks(opened, info)))


def _whole_member(archive: Archive, chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except Rejected as error:
        raise UserError(
            f"{archive.paths[0]} cannot be unpacked ({error}): download it again, or unpack it yourself and put its "
            "contents beside it"
        ) from None


def _unpack_tar(archive: Archive, folder: Path) -> None:
    (path,) = archive.paths
    with tars.told(path):
        for member in tars.members(path):
            target = _target(folder, member.name)
            if member.file:
                _write(target, iter(partial(member.file.read, _CHUNK), b""))
            else:
                _link(folder, member, target)


def _unpack_rar(archive: Archive, folder: Path) -> None:
    members = rar.members(archive.paths)
    for member in members:
        _safe(member.name)
        if not member.is_file:
            raise Rejected(f"{printable(member.name)!r} is a link or device")
    archive.budget().spend(sum(member.size for member in members))
    rar.extract(archive.paths, members, folder)


def _target(folder: Path, name: str) -> Path:
    """Where a member goes, in a folder that exists."""
    target = folder / _safe(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(name, error) from None
    return target


def _write(target: Path, chunks: Iterable[bytes]) -> None:
    try:
        out = target.open("xb")
    except OSError as error:
        raise _refused(target.name, error) from None
    with out:
        out.writelines(chunks)


def _link(folder: Path, member: TarMember, target: Path) -> None:
    """A hard link to a file that was unpacked before."""
    try:
        linked = folder / safe_path(member.target)
    except Rejected:
        linked = folder
    try:
        if not linked.is_file():
            raise Rejected(f"{printable(member.name)!r} is a link or device")
        os.link(linked, target)
    except OSError as error:
        raise _refused(target.name, error) from None


def _refused(name: str, error: OSError) -> Exception:
    """The reason why a member cannot get its name; the error itself if that is not the name's fault."""
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return Rejected(f"{name} is contained twice")
    return Rejected(f"{name}: name too long") if error.errno == errno.ENAMETOOLONG else error


def _safe(name: str) -> str:
    try:
        return safe_path(name)
    except Rejected as error:
        raise Rejected(f"{printable(name)!r}: {error}") from None


def _contents(archive: Archive, folder: Path) -> Iterator[tuple[str, Path]]:
    """Name within the release and path of every unpacked file but for strangers."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {name: path for name, path in paths.items() if not is_stranger(name)}
    in_place = len({name.partition("/")[:2] for name in files}) == 1 and all("/" in name for name in files)
    root = PurePosixPath(archive.name).parent if in_place else PurePosixPath(archive.name)
    for name, path in files.items():
        yield (root / name).as_posix(), path


def _fingerprint(archive: Archive) -> str:
    identities = [[path.name, *file_identity(path)] for path in archive.paths]
    return f"{PurePosixPath(archive.name).name}-{hashlib.sha256(repr(identities).encode()).hexdigest()[:12]}"


def _remove_others(store: Path, kept: Iterable[Path]) -> None:
    for path in store.iterdir() if store.is_dir() else ():
        if path not in kept:
            shutil.rmtree(path)
