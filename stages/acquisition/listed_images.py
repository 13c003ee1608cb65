"""Pictures that a release lists by address, fetched politely: the owner's copy first, the original address second.

Of the web's old pictures many are gone. Each of those is a reject. What cannot come back (no such file,
no picture, no valid address) is remembered in a journal, and a later run asks only for the others.
"""

import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx

from stages.acquisition import retries, transfer
from stages.acquisition.hosts import server
from stages.acquisition.retries import Gates, HaltedError, Manners
from stages.acquisition.transfer import Limits, TransferError
from stages.releases.readers import Reject
from stages.runtime.errors import Rejected
from stages.storage.media import image_size

MANNERS = Manners(at_once=24, per_host=6, tries=3, longest_wait_s=60.0)
LIMITS = Limits(most=20 * 2**20, seconds=60.0)
GIVEN_UP_AFTER = 3  # failures in a row to connect to a host that has never answered
_AHEAD = 4  # pictures per thread that are handed out ahead


class Picture(NamedTuple):
    """One listed picture."""

    name: str  # within the release
    addresses: tuple[str, ...]  # in the order in which they are tried


def bring(
    pictures: Iterable[Picture], folder: Path, journal: Path, manners: Manners = MANNERS, limits: Limits = LIMITS
) -> Iterator[Reject | None]:
    """One reject, or None for a picture that is in `folder`, for each of `pictures` and in their order."""
    halt = threading.Event()
    memory = _Memory(journal)
    with transfer.client() as client, ThreadPoolExecutor(manners.at_once) as pool:
        asker = _Asker(client, folder, memory, manners, limits, halt, Gates(manners.per_host))
        try:
            yield from _in_order(pool, asker, pictures, manners.at_once * _AHEAD)
        finally:
            halt.set()
            pool.shutdown(wait=True, cancel_futures=True)
            memory.close()


class _Memory:
    """Pictures that are gone for good and the addresses that were tried; a line is added as soon as one is known."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._gone = dict(_lines(path))
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n")  # ends a line that a killed run left half written
        self._lock = threading.Lock()

    def detail(self, picture: Picture) -> str | None:
        """Why the picture is gone; None for one that may be there."""
        addresses, detail = self._gone.get(picture.name, ((), None))
        return detail if addresses == picture.addresses else None

    def add(self, picture: Picture, detail: str) -> None:
        with self._lock:
            self._file.write(json.dumps([picture.name, picture.addresses, detail]) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class _Asker:
    client: httpx.Client
    folder: Path
    memory: _Memory
    manners: Manners
    limits: Limits
    halt: threading.Event
    gates: Gates
    unreachable: Counter[str] = field(default_factory=Counter[str])  # host -> failures to connect in a row

    def ask(self, picture: Picture) -> Reject | None:
        """Nothing once the picture is there, else why it is not."""
        if (self.folder / picture.name).is_file():
            return None
        if (known := self.memory.detail(picture)) is not None:
            return Reject(picture.name, "address is dead", known)
        failures: list[TransferError] = []
        for address in picture.addresses:
            try:
                self._fetch(picture.name, address)
            except TransferError as error:
                failures.append(error)
            else:
                return None
        return self._reject(picture, failures)

    def _reject(self, picture: Picture, failures: list[TransferError]) -> Reject:
        told = "; ".join(dict.fromkeys(map(str, failures))) or "none is listed"
        if any(failure.may_return for failure in failures):
            return Reject(picture.name, "address does not answer", told)
        self.memory.add(picture, told)
        return Reject(picture.name, "address is dead", told)

    def _fetch(self, name: str, address: str) -> None:
        target = self.folder / name
        partial = target.with_name(f".{target.name}.partial")
        transfer.forget(partial)  # of another address, perhaps
        try:
            retries.repeated(lambda: self._once(address, partial), partial, self.manners, self.halt)
            partial.replace(target)
        finally:
            transfer.forget(partial)

    def _once(self, address: str, partial: Path) -> None:
        host = server(address)
        if self.unreachable[host] >= GIVEN_UP_AFTER:
            raise TransferError(f"no connection to {host}", may_return=True)
        try:
            with self.gates.of(address):
                transfer.attempt(self.client, address, partial, self.limits, on_bytes=self._counted)
        except transfer.UnreachableError:
            self.unreachable[host] += 1
            raise
        self.unreachable[host] = 0
        try:
            image_size(partial.read_bytes())
        except Rejected as error:
            raise TransferError(str(error), may_return=False) from None

    def _counted(self, _: int) -> None:
        if self.halt.is_set():
            raise HaltedError


def _in_order(
    pool: ThreadPoolExecutor, asker: _Asker, pictures: Iterable[Picture], ahead: int
) -> Iterator[Reject | None]:
    waiting: deque[Future[Reject | None]] = deque()
    for picture in pictures:
        waiting.append(pool.submit(asker.ask, picture))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _lines(path: Path) -> Iterator[tuple[str, tuple[tuple[str, ...], str]]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            name, addresses, detail = json.loads(line)
            yield name, (tuple(addresses), detail)
        except (ValueError, TypeError):
            continue  # half a line of a killed run
