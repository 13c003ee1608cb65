"""When an attempt at a transfer is repeated and after how long, and how many requests one host gets at a time."""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tenacity

from stages.acquisition.hosts import server
from stages.acquisition.transfer import SlowError, TransferError

T = TypeVar("T")


@dataclass(frozen=True)
class Manners:
    """How servers are treated."""

    at_once: int = 4  # files
    per_host: int = 4  # requests
    tries: int = 6  # in a row that bring no new byte
    wrong: int = 2  # whole files of wrong content
    first_wait_s: float = 1.0  # doubled by every try that brings no new byte
    longest_wait_s: float = 300.0  # `Retry-After` is obeyed up to here


class ContentError(TransferError):
    """A whole file arrived whose digest is not the expected one."""


class HaltedError(Exception):
    """Another thread has ended the work."""


class Gates:
    """Lets so many requests through to one host at a time, whichever thread asks."""

    def __init__(self, per_host: int) -> None:
        self._gates: defaultdict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(per_host))
        self._lock = threading.Lock()

    def of(self, address: str) -> threading.Semaphore:
        """The gate before the host of that address."""
        with self._lock:
            return self._gates[server(address)]


def repeated(attempt: Callable[[], T], partial: Path, manners: Manners, halt: threading.Event) -> T:
    """What `attempt` returns once it succeeds; attempts that add to `partial` cost no patience.

    Raises:
        TransferError: for good, or again and again.
        HaltedError: `halt` was set.
    """
    patience = _Patience(partial, manners)

    def pause(seconds: float) -> None:
        if halt.wait(seconds):
            raise HaltedError

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(patience.goes_on), wait=patience.wait_s, sleep=pause, reraise=True
    )
    return retrying(attempt)


class _Patience:
    def __init__(self, partial: Path, manners: Manners) -> None:
        self._partial, self._manners = partial, manners
        self._most = self._size()
        self._idle = self._wrong = 0

    def goes_on(self, error: BaseException) -> bool:
        if not isinstance(error, TransferError) or isinstance(error, SlowError) or not error.may_return:
            return False
        size = self._size()
        self._wrong += isinstance(error, ContentError)
        self._idle = 0 if size > self._most else self._idle + 1
        self._most = max(size, self._most)
        return self._wrong < self._manners.wrong and self._idle < self._manners.tries

    def wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait_s if isinstance(error, TransferError) else None
        grown = self._manners.first_wait_s * 2 ** max(0, self._idle - 1)
        return min(grown if asked is None else asked, self._manners.longest_wait_s)

    def _size(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0
