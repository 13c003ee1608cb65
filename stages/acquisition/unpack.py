"""Unpack the archives of a release: ZIP (whole or .001, .002, ...), tar (compressed or not), RAR in volumes.

An archive is refused as a whole if it contains a path outside its folder, a link or a device, or expands
more than 200-fold. It is unpacked once, into a folder whose name is a digest of its files' names, sizes and times.
"""

import hashlib
import logging
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from stages.acquisition import rar
from stages.releases.archives import Budget, ZipSource, open_zip
from stages.releases.readers import Reject, printable, safe_path
from stages.runtime import progress
from stages.runtime.errors import Rejected, UserError
from stages.runtime.files import file_identity

log = logging.getLogger(__name__)

_CHUNK = 2**20
_JUNK = ("__MACOSX",)
_VOLUME = re.compile(r"(?P<stem>.+?)(?:\.part(?P<part>\d+)\.rar|\.zip\.(?P<piece>\d{3}))", re.IGNORECASE)
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
        UserError: a volume is missing before another one.
    """
    volumes: defaultdict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for name, path in files.items():
        if match := _VOLUME.fullmatch(name):
            volumes[match["stem"], "rar" if match["part"] else "zip"][int(match["part"] or match["piece"])] = path
        elif match := _WHOLE.fullmatch(name):
            kind = match["kind"].lower()
            volumes[match["stem"], kind if kind in ("zip", "rar") else "tar"][1] = path
    for (stem, kind), by_number in sorted(volumes.items()):
        if missing := set(range(1, max(by_number) + 1)) - set(by_number):
            last = by_number[max(by_number)].name
            raise UserError(f"volume {min(missing)} of {stem} is missing: put all volumes before {last} beside it")
        yield Archive(stem, kind, tuple(path for _, path in sorted(by_number.items())))


def _unpack_once(archive: Archive, folder: Path) -> None:
    """Unpack into `folder`: completely, or not at all."""
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    log.info("unpacking %s", archive.paths[0].name)
    unpackers = {"zip": _unpack_zip, "tar": _unpack_tar, "rar": _unpack_rar}
    try:
        unpackers[archive.kind](archive, partial)
    except Rejected as error:
        shutil.rmtree(partial)
        raise UserError(f"{archive.paths[0]} is refused: {error}") from None
    os.sync()  # there may be hundreds of thousands of files: at once rather than one by one
    partial.rename(folder)


def _unpack_zip(archive: Archive, folder: Path) -> None:
    with open_zip(ZipSource(archive.paths[0].name, archive.paths)) as opened:
        members = [info for info in opened.infolist() if not info.is_dir()]
        for info in members:
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise Rejected(f"{printable(info.filename)} is a link or device")
        budget = archive.budget()
        for info in members:
            try:
                with opened.open(info) as file:
                    _write(folder, info.filename, file, budget)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
                raise UserError(f"{archive.paths[0]} is damaged or encrypted ({error}): download it again") from None


def _unpack_tar(archive: Archive, folder: Path) -> None:
    (path,) = archive.paths
    budget = archive.budget()
    try:
        with tarfile.open(path, "r|*") as opened:
            while (member := opened.next()) is not None:
                vars(opened)["members"].clear()  # a stream needs no memory of its many members
                if member.isdir():
                    continue
                file = opened.extractfile(member) if member.isreg() else None
                if file is None:
                    raise Rejected(f"{printable(member.name)} is a link or device")
                _write(folder, member.name, file, budget)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged or cut short ({error}): download it again") from None


def _unpack_rar(archive: Archive, folder: Path) -> None:
    members = rar.members(archive.paths)
    for member in members:
        _safe(member.name)
        if not member.is_file:
            raise Rejected(f"{printable(member.name)} is a link or device")
    archive.budget().spend(sum(member.size for member in members))
    rar.extract(archive.paths, members, folder)


def _write(folder: Path, name: str, file: IO[bytes], budget: Budget) -> None:
    target = folder / _safe(name)
    if set(target.relative_to(folder).parts) & set(_JUNK):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            while chunk := file.read(_CHUNK):
                budget.spend(len(chunk))
                out.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Rejected(f"{name} is contained twice") from None


def _safe(name: str) -> str:
    try:
        return safe_path(name)
    except Rejected as error:
        raise Rejected(f"{printable(name)!r}: {error}") from None


def _contents(archive: Archive, folder: Path) -> Iterator[tuple[str, Path]]:
    """Name within the release and path of every unpacked file."""
    tops = list(folder.iterdir())
    in_place = len(tops) == 1 and tops[0].is_dir()
    root = PurePosixPath(archive.name).parent if in_place else PurePosixPath(archive.name)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield (root / path.relative_to(folder).as_posix()).as_posix(), path


def _fingerprint(archive: Archive) -> str:
    identities = [[path.name, *file_identity(path)] for path in archive.paths]
    return f"{PurePosixPath(archive.name).name}-{hashlib.sha256(repr(identities).encode()).hexdigest()[:12]}"


def _remove_others(store: Path, kept: Iterable[Path]) -> None:
    for path in store.iterdir() if store.is_dir() else ():
        if path not in kept:
            shutil.rmtree(path)
