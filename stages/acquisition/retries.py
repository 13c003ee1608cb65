"""Retry policy with exponential backoff, and a limit on simultaneous requests to one host."""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tenacity

from stages.acquisition.hosts import server
from stages.acquisition.responses import SlowError, TransferError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """Limits on connections, attempts and waits."""

    connections: int = 4  # files that are downloaded at the same time
    per_host: int = 4  # simultaneous requests to one host
    attempts: int = 6  # in a row that add no byte
    mismatches: int = 2  # complete files with a wrong digest
    first_wait_s: float = 1.0  # doubled after every attempt that adds no byte
    max_wait_s: float = 300.0  # also limits a server's `Retry-After`


class DigestError(TransferError):
    """A complete file arrived whose digest is not the expected one."""


class StoppedError(Exception):
    """Another thread has stopped the download."""


class HostLimits:
    """A semaphore for each host, shared by all threads."""

    def __init__(self, per_host: int) -> None:
        self._semaphores: defaultdict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(per_host))
        self._lock = threading.Lock()

    def of(self, url: str) -> threading.Semaphore:
        """The semaphore of the URL's host."""
        with self._lock:
            return self._semaphores[server(url)]


def retry(attempt: Callable[[], T], partial: Path, policy: RetryPolicy, stop: threading.Event) -> T:
    """What `attempt` returns once it succeeds; an attempt that adds bytes to `partial` resets the count.

    Raises:
        TransferError: the last one, when it is final or the policy allows no further attempt.
        StoppedError: `stop` was set.
    """
    progress = _Progress(partial, policy)

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise StoppedError

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(progress.should_retry), wait=progress.wait_s, sleep=sleep, reraise=True
    )
    return retrying(attempt)


class _Progress:
    """Counts failed attempts at one file."""

    def __init__(self, partial: Path, policy: RetryPolicy) -> None:
        self._partial, self._policy = partial, policy
        self._largest = self._size()
        self._idle = self._mismatches = 0

    def should_retry(self, error: BaseException) -> bool:
        if not isinstance(error, TransferError) or isinstance(error, SlowError) or not error.retryable:
            return False
        size = self._size()
        self._mismatches += isinstance(error, DigestError)
        self._idle = 0 if size > self._largest else self._idle + 1
        self._largest = max(size, self._largest)
        return self._mismatches < self._policy.mismatches and self._idle < self._policy.attempts

    def wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        requested = error.wait_s if isinstance(error, TransferError) else None
        backoff = self._policy.first_wait_s * 2 ** max(0, self._idle - 1)
        return min(backoff if requested is None else requested, self._policy.max_wait_s)

    def _size(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0
