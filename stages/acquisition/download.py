"""The files of a registry brought into a folder, several at a time, each of them whole and verified, or reported.

What to do about a file is decided first, without a network. Bytes then go into a hidden file beside the place of the
whole one, which takes that place once size and digest are right; a run that was killed goes on from there.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import httpx

from stages.acquisition import registry, retries, transfer
from stages.acquisition.digests import Memory
from stages.acquisition.registry import Entry
from stages.acquisition.retries import ContentError, Gates, HaltedError, Manners
from stages.acquisition.transfer import Limits, TransferError
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
RECORDED = ".recorded.txt"  # a registry of what first downloads were found to be, beside the files
DEFAULT_ALGORITHM = "sha256"
MANNERS = Manners()

State = Literal["absent", "stale", "current"]


class Source(NamedTuple):
    """Where one file is asked for."""

    address: str
    login: tuple[str, str] | None = None


def decide(entry: Entry, size: int | None, digest: Callable[[], str]) -> State:
    """What is to be done about a file of `size` bytes, none if there is no file; `digest` may have to read it."""
    if size is None:
        return "absent"
    if entry.size is not None and size != entry.size:
        return "stale"
    return "current" if not entry.digest or digest() == entry.digest else "stale"


def bring(
    entries: Sequence[Entry],
    folder: Path,
    source: Callable[[Entry], Source],
    memory: Memory,
    manners: Manners = MANNERS,
) -> dict[str, str]:
    """Name -> reason for every file that could not be brought; empty when all of them are there.

    A file that is there and right is left alone, one that is not right is replaced. Sizes and digests that the
    registry leaves open are recorded in `folder` and count from then on.

    Raises:
        UserError: no room for what is missing, a malformed record, or what `source` raises, before anything is fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    book = _Book(folder / RECORDED)
    missing = needed(book.completed(entries), folder, memory)
    _check_room(missing, folder)
    sources = {entry.name: source(entry) for entry in missing}
    meter = Meter(missing)
    with transfer.client() as client:
        gates = Gates(manners.per_host)
        fetcher = _Fetcher(client, folder, sources, memory, manners, meter, gates, threading.Event())
        failures = fetcher.fetch_all(missing, book)
    memory.save()
    if missing:
        log.info("%s", meter.line())
    return dict(sorted(failures.items()))


def needed(entries: Sequence[Entry], folder: Path, memory: Memory) -> list[Entry]:
    """The entries whose file is absent or not right."""
    states = {entry.name: _state(entry, folder / entry.name, memory) for entry in entries}
    for name, state in states.items():
        if state == "stale":
            log.info("%s is not what the registry says, it is fetched again", folder / name)
    return [entry for entry in entries if states[entry.name] != "current"]


class Meter:
    """Bytes as they arrive, told every 10 seconds with rate and time left."""

    def __init__(self, entries: Sequence[Entry], clock: Callable[[], float] = time.monotonic) -> None:
        self._files = len(entries)
        self._size = sum(entry.size or 0 for entry in entries)
        self._clock = clock
        self._done = self._bytes = 0
        self._started = self._told = clock()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes."""
        with self._lock:
            self._bytes += count
            now = self._clock()
            if now - self._told >= LOG_INTERVAL_S:
                self._told = now
                log.info("%s", self.line())

    def file_done(self) -> None:
        """Count a file that has taken its place."""
        with self._lock:
            self._done += 1

    def line(self) -> str:
        """One line such as `downloading: 2 of 9 files, 3.1 of 249.0 GB, 21.3 MB/s, 3:12 h left`."""
        rate = self._bytes / max(self._clock() - self._started, 1e-9)
        whole = f" of {self._size / 1e9:.1f}" if self._size else ""
        left = round((self._size - self._bytes) / rate / 60) if self._size > self._bytes > 0 else 0  # minutes
        eta = f", {left // 60}:{left % 60:02d} h left" if self._size > self._bytes > 0 else ""
        return (
            f"downloading: {self._done} of {self._files} files, {self._bytes / 1e9:.1f}{whole} GB, "
            f"{rate / 1e6:.1f} MB/s{eta}"
        )


class _Book:
    """What first downloads were found to be, for files about which the registry leaves something open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = {entry.name: entry for entry in registry.read(path)} if path.exists() else {}

    def completed(self, entries: Sequence[Entry]) -> list[Entry]:
        return registry.completed(entries, self._entries.values())

    def record(self, found: Entry) -> None:
        self._entries[found.name] = found
        lines = [entry.line() for _, entry in sorted(self._entries.items())]
        replace_text(self._path, "\n".join(lines) + "\n")


@dataclass(frozen=True)
class _Fetcher:
    """Brings files with one client, as many attempts as it takes, and no more requests per host than allowed."""

    client: httpx.Client
    folder: Path
    sources: Mapping[str, Source]
    memory: Memory
    manners: Manners
    meter: Meter
    gates: Gates
    halt: threading.Event

    def fetch_all(self, entries: Sequence[Entry], book: _Book) -> dict[str, str]:
        """Name -> reason of those that failed; what was open about the others is in `book`."""
        failures: dict[str, str] = {}
        with ThreadPoolExecutor(self.manners.at_once) as pool:
            try:
                futures = {pool.submit(self._fetch, entry): entry for entry in entries}
                for future in as_completed(futures):
                    entry = futures[future]
                    try:
                        found = future.result()
                    except TransferError as error:
                        failures[entry.name] = str(error)
                    else:
                        if found != entry:
                            book.record(found)
            finally:
                self.halt.set()
                pool.shutdown(wait=True, cancel_futures=True)
        return failures

    def _fetch(self, entry: Entry) -> Entry:
        """The entry with the size and digest that were found."""
        partial = _beside(self.folder / entry.name)
        found = retries.repeated(lambda: self._once(entry, partial), partial, self.manners, self.halt)
        self.meter.file_done()
        return found

    def _once(self, entry: Entry, partial: Path) -> Entry:
        target, (address, login) = self.folder / entry.name, self.sources[entry.name]
        limits = Limits(size=entry.size, page_is_fine=target.suffix in (".html", ".htm"))
        with self.gates.of(address):
            transfer.attempt(self.client, address, partial, limits, login=login, on_bytes=self._counted)
        digest = _digest(entry, partial, self.memory)
        if entry.digest not in ("", digest):
            transfer.forget(partial)
            raise ContentError(f"another content: expected {entry.digest}, found {digest}", may_return=True)
        partial.replace(target)
        transfer.forget(partial)
        return replace(entry, size=target.stat().st_size, digest=digest)

    def _counted(self, count: int) -> None:
        if self.halt.is_set():
            raise HaltedError
        self.meter.add(count)


def _state(entry: Entry, path: Path, memory: Memory) -> State:
    size = path.stat().st_size if path.is_file() else None
    return decide(entry, size, lambda: _digest(entry, path, memory))


def _digest(entry: Entry, path: Path, memory: Memory) -> str:
    algorithm = entry.digest.partition(":")[0] or DEFAULT_ALGORITHM
    return f"{algorithm}:{memory.digest(entry.name, path, algorithm)}"


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _check_room(missing: Sequence[Entry], folder: Path) -> None:
    partials = [_beside(folder / entry.name) for entry in missing]
    begun = sum(path.stat().st_size for path in partials if path.exists())
    wanted = sum(entry.size or 0 for entry in missing) - begun
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UserError(
            f"{folder} has room for {free / 1e9:.1f} GB, but {wanted / 1e9:.1f} GB are missing of the release: "
            "make room, or link the folder to a larger disk"
        )
