"""Download the files of a registry into a folder: several at a time, verified, and resumed after a killed run.

What to do about a file is decided first, without a network. Bytes then go into a hidden file beside the target, which
replaces the target once size and digest are right.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import httpx

from stages.acquisition import answers, partials, registry, retries, transfer
from stages.acquisition.digests import DigestCache
from stages.acquisition.meter import Meter
from stages.acquisition.registry import Entry
from stages.acquisition.responses import TransferError
from stages.acquisition.retries import DigestError, HostLimits, RetryPolicy, StoppedError
from stages.acquisition.transfer import Expected
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text

log = logging.getLogger(__name__)

RECORDED = ".recorded.txt"  # a registry of the sizes and digests of first downloads, beside the files
DEFAULT_ALGORITHM = "sha256"
POLICY = RetryPolicy()
_OF_RECORD = (
    f" (what is expected was recorded at its first download: take its line out of {RECORDED} if that was wrong)"
)

State = Literal["absent", "stale", "current"]


class Source(NamedTuple):
    """Where one file is downloaded from."""

    url: str
    login: tuple[str, str] | None = None


def decide(entry: Entry, size: int | None, digest: Callable[[], str]) -> State:
    """State of a file of `size` bytes, None if there is no file; `digest`, which may read it, is called last."""
    if size is None:
        return "absent"
    if entry.size is not None and size != entry.size:
        return "stale"
    return "current" if not entry.digest or digest() == entry.digest else "stale"


def download(
    entries: Sequence[Entry],
    folder: Path,
    source: Callable[[Entry], Source],
    cache: DigestCache,
    policy: RetryPolicy = POLICY,
) -> dict[str, str]:
    """Name -> reason for every file that could not be downloaded; empty when `folder` holds all of them.

    A correct file is kept, any other is replaced. Sizes and digests that the registry leaves open are recorded in
    `folder` and checked from then on.

    Raises:
        UserError: too little disk space, a malformed record, or what `source` raises, before anything is downloaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = _Record(folder / RECORDED)
    filled = record.fill_in(entries)
    missing = needed(filled, folder, cache)
    for name in {entry.name for entry in filled} - {entry.name for entry in missing}:
        partials.discard(partials.beside(folder / name))  # of a run that was killed at its very end
    _check_disk_space(missing, folder)
    sources = {entry.name: source(entry) for entry in missing}
    meter = Meter(missing)
    with transfer.client() as client:
        hosts = HostLimits(policy.per_host)
        downloader = _Downloader(client, folder, sources, cache, record, policy, meter, hosts, threading.Event())
        failures = downloader.download_all(missing)
    cache.save()
    if missing:
        log.info("%s", meter.line())
    recorded = {entry.name for entry, published in zip(filled, entries, strict=True) if entry != published}
    return {name: f"{why}{_OF_RECORD if name in recorded else ''}" for name, why in sorted(failures.items())}


def needed(entries: Sequence[Entry], folder: Path, cache: DigestCache) -> list[Entry]:
    """The entries whose file is absent or wrong."""
    states = {entry.name: _state(entry, folder / entry.name, cache) for entry in entries}
    for name, state in states.items():
        if state == "stale":
            log.info("%s differs from the registry, it is needed again", folder / name)
    return [entry for entry in entries if states[entry.name] != "current"]


class _Record:
    """Sizes and digests of first downloads, for files about which the registry leaves something open."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._entries = {entry.name: entry for entry in registry.read(path)} if path.exists() else {}

    def fill_in(self, entries: Sequence[Entry]) -> list[Entry]:
        return registry.fill_in(entries, self._entries.values())

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.name] = entry
            lines = [entry.line() for _, entry in sorted(self._entries.items())]
            replace_text(self._path, "\n".join(lines) + "\n")


@dataclass(frozen=True)
class _Downloader:
    client: httpx.Client
    folder: Path
    sources: Mapping[str, Source]
    cache: DigestCache
    record: _Record
    policy: RetryPolicy
    meter: Meter
    hosts: HostLimits
    stop: threading.Event

    def download_all(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Name -> reason of those that failed; sizes and digests of the others are recorded where they were open."""
        failures: dict[str, str] = {}
        with ThreadPoolExecutor(self.policy.connections) as pool:
            try:
                futures = {pool.submit(self._download, entry): entry for entry in entries}
                for future in as_completed(futures):
                    entry = futures[future]
                    try:
                        future.result()
                    except TransferError as error:
                        failures[entry.name] = str(error)
            finally:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        return failures

    def _download(self, entry: Entry) -> None:
        partial = partials.beside(self.folder / entry.name)
        retries.retry(lambda: self._attempt(entry, partial), partial, self.policy, self.stop)
        self.meter.file_done()

    def _attempt(self, entry: Entry, partial: Path) -> None:
        target, (url, login) = self.folder / entry.name, self.sources[entry.name]
        expected = Expected(
            size=entry.size,
            html_allowed=target.suffix in answers.PAGES,
            compressed=target.suffix in answers.COMPRESSED,
            digest_known=bool(entry.digest),
        )
        with self.hosts.of(url):
            transfer.attempt(self.client, url, partial, expected, login=login, on_bytes=self._count)
        _check_answer(entry, partial)
        digest = _digest(entry, partial, self.cache)
        if entry.digest not in ("", digest):
            partials.discard(partial)
            raise DigestError(f"wrong content: expected {entry.digest}, found {digest}", retryable=True)
        complete = replace(entry, size=partial.stat().st_size, digest=digest)
        if complete != entry:
            self.record.add(complete)  # first: a file that is there is never downloaded again, nor recorded
        partial.replace(target)
        partials.discard(partial)

    def _count(self, count: int) -> None:
        if self.stop.is_set():
            raise StoppedError
        self.meter.add(count)


def _state(entry: Entry, path: Path, cache: DigestCache) -> State:
    size = path.stat().st_size if path.is_file() else None
    return decide(entry, size, lambda: _digest(entry, path, cache))


def _check_answer(entry: Entry, path: Path) -> None:
    """Nothing, if these bytes may be the file: what is recorded now is expected from then on."""
    if entry.digest or entry.size is not None:
        return
    with path.open("rb") as file:
        complaint = answers.complaint(entry.name, file.read(answers.HEAD_BYTES), path.stat().st_size)
    if complaint:
        partials.discard(path)
        raise TransferError(f"{complaint} instead of the file: the URL, key or login is wrong", retryable=False)


def _digest(entry: Entry, path: Path, cache: DigestCache) -> str:
    algorithm = entry.digest.partition(":")[0] or DEFAULT_ALGORITHM
    return f"{algorithm}:{cache.digest(entry.name, path, algorithm)}"


def _check_disk_space(missing: Sequence[Entry], folder: Path) -> None:
    files = [partials.beside(folder / entry.name) for entry in missing]
    present = sum(path.stat().st_size for path in files if path.exists())
    required = sum(entry.size or 0 for entry in missing) - present
    free = shutil.disk_usage(folder).free
    if required > free:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB of free disk space, but {required / 1e9:.1f} GB of the release are "
            "missing: free some space, or link the folder to a larger disk"
        )
