"""Download some members of a multi-part ZIP archive on a server, without the rest of it."""

import io
import threading
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx

from stages.acquisition import retries, transfer
from stages.acquisition.download import POLICY, Source
from stages.releases import archives
from stages.releases.joined import Joined
from stages.runtime import files, progress
from stages.runtime.errors import Rejected, UserError

_BUFFER_BYTES = 2**22  # bytes per request: several members of one identity
_MAX_READ_BYTES = 2**29  # at once; the largest is the directory of a million clips, about 120 MB


class _Archive(io.BufferedReader):
    """An archive on a server, of which nobody needs a large piece in memory, whatever its directory says."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_READ_BYTES:
            raise zipfile.BadZipFile(f"a piece of {size} bytes")
        return super().read(size)


def joined_parts(client: httpx.Client, sources: Sequence[Source]) -> Joined:
    """Several files on a server, joined in their order as one file."""

    def read(part: int, start: int, count: int) -> tuple[bytes, int]:
        url, login = sources[part]
        attempt = partial(transfer.read_range, client, url, start, count, login)
        return retries.retry(attempt, Path("no partial file"), POLICY, threading.Event())

    sizes = [read(part, 0, 1)[1] for part in range(len(sources))]
    return Joined(sizes, lambda part, start, count: read(part, start, min(count, _BUFFER_BYTES))[0])


def download_identities(sources: Sequence[Source], identities: Sequence[str], folder: Path) -> None:
    """`<identity>.zip` in `folder` for each of `identities`; one that exists is kept.

    Raises:
        UserError: the parts are not a ZIP archive, or it has no members of an identity.
        TransferError: a part cannot be read.
    """
    missing = [name for name in dict.fromkeys(identities) if not (folder / f"{name}.zip").exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with transfer.client() as client:
        file = _Archive(joined_parts(client, sources), _BUFFER_BYTES)
        try:
            archive = zipfile.ZipFile(file)
            archives.check_members(archive.infolist(), file.seek(0, io.SEEK_END), "the archive on the server")
        except Exception as error:
            if not archives.is_damage(error):
                raise
            raise UserError(f"the {len(sources)} parts on the server are not a whole ZIP archive") from None
        with archive:
            members = _members(archive, missing)
            for name, infos in progress.track(members.items(), len(members), "fetch", "identities"):
                _copy(archive, infos, folder / f"{name}.zip")


def _members(archive: zipfile.ZipFile, identities: Sequence[str]) -> dict[str, list[zipfile.ZipInfo]]:
    """Members of each identity, in their order within the archive."""
    by_folder: defaultdict[str, list[zipfile.ZipInfo]] = defaultdict(list)
    for info in archives.zip_files(archive):
        for folder in info.filename.split("/")[:-1]:
            by_folder[folder].append(info)
    if unknown := [name for name in identities if name not in by_folder]:
        raise UserError(f"identity {unknown[0]!r} should have members in the archive, found none: check its spelling")
    return {name: sorted(by_folder[name], key=lambda info: info.header_offset) for name in identities}


def _copy(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], target: Path) -> None:
    """Write a whole ZIP of `members` without compression, or nothing; reading checks their checksums."""
    try:
        with files.whole(target) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as copy:
            for info in members:
                member = zipfile.ZipInfo(info.filename, info.date_time)
                with copy.open(member, "w") as out:
                    out.writelines(archives.zip_chunks(archive, info))
    except Rejected as error:
        raise UserError(f"{target.name} cannot be read on the server ({error}): leave that identity out") from None
