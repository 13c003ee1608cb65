"""Some members of a ZIP archive that lies in parts on a server, without the rest of it."""

import io
import shutil
import threading
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx

from stages.acquisition import retries, transfer
from stages.acquisition.download import MANNERS, Source
from stages.releases.joined import Joined
from stages.runtime import files, progress
from stages.runtime.errors import UserError

_AHEAD_BYTES = 2**22  # asked for at a time: several members of one identity


def joined_parts(client: httpx.Client, sources: Sequence[Source]) -> Joined:
    """Files on a server, one after the other, as one file."""

    def read(part: int, start: int, count: int) -> tuple[bytes, int]:
        address, login = sources[part]
        attempt = partial(transfer.read_range, client, address, start, count, login)
        return retries.repeated(attempt, Path("none"), MANNERS, threading.Event())

    sizes = [read(part, 0, 1)[1] for part in range(len(sources))]
    return Joined(sizes, lambda part, start, count: read(part, start, count)[0])


def bring(sources: Sequence[Source], identities: Sequence[str], folder: Path) -> None:
    """`<identity>.zip` in `folder` for each of `identities`; one that is there is left alone.

    Raises:
        UserError: no ZIP, or an identity without members.
        TransferError: a part cannot be read.
    """
    missing = [name for name in dict.fromkeys(identities) if not (folder / f"{name}.zip").exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with transfer.client() as client:
        file = io.BufferedReader(joined_parts(client, sources), _AHEAD_BYTES)
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise UserError(f"the {len(sources)} parts on the server are no whole ZIP archive") from None
        with archive:
            for name, members in progress.track(_chosen(archive, missing), len(missing), "fetch", "identities"):
                _copy(archive, members, folder / f"{name}.zip")


def _chosen(archive: zipfile.ZipFile, identities: Sequence[str]) -> list[tuple[str, list[zipfile.ZipInfo]]]:
    found: defaultdict[str, list[zipfile.ZipInfo]] = defaultdict(list)
    for info in archive.infolist():
        for folder in info.filename.split("/")[:-1]:
            found[folder].append(info)
    if unknown := [name for name in identities if name not in found]:
        raise UserError(f"identity {unknown[0]!r} should have members in the archive, found none: check its spelling")
    return [(name, sorted(found[name], key=lambda info: info.header_offset)) for name in identities]


def _copy(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], target: Path) -> None:
    """A ZIP of `members` without compression, there whole or not at all; checksums are checked on the way."""
    try:
        with files.whole(target) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as copy:
            for info in members:
                place = zipfile.ZipInfo(info.filename, info.date_time)
                with archive.open(info) as source, copy.open(place, "w") as out:
                    shutil.copyfileobj(source, out, 2**20)
    except zipfile.BadZipFile as error:
        raise UserError(f"{target.name} is damaged on the server ({error}): leave that identity out") from None
