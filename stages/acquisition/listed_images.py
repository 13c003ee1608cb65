"""Download images that a release lists by URL: the owner's copy first, then the original URL.

Many old images have disappeared from the web; each of them is a reject. Permanent failures (no such file,
not an image, an invalid URL) are kept in a journal, and a later run requests only the others.
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

from stages.acquisition import partials, responses, retries, transfer
from stages.acquisition.hosts import server
from stages.acquisition.responses import PrivateError, TransferError
from stages.acquisition.retries import HostLimits, RetryPolicy, StoppedError
from stages.acquisition.transfer import Expected
from stages.releases.readers import Reject
from stages.runtime import limits
from stages.runtime.errors import Rejected
from stages.storage.media import check_image

POLICY = RetryPolicy(connections=24, per_host=6, attempts=3, max_wait_s=60.0)
MAX_CONNECT_FAILURES = 3  # in a row, after which a host is no longer asked
_QUEUED_PER_CONNECTION = 4


class ListedImage(NamedTuple):
    """One image that a release lists by URL."""

    name: str  # within the release
    urls: tuple[str, ...]  # in the order in which they are tried


def expected() -> Expected:
    """What is known of each of the images: that it is one."""
    now = limits.now()
    return Expected(max_bytes=int(now.linked_mib * limits.MIB), max_s=now.linked_s, end_checked=True)


def download(
    client: httpx.Client,
    images: Iterable[ListedImage],
    folder: Path,
    journal: Path,
    *,
    policy: RetryPolicy,
    expected: Expected,
) -> Iterator[Reject | None]:
    """For each of `images`, in their order: None if it is in `folder`, otherwise a reject.

    Whoever once owned a URL may not own it now: `client` is a guarded one.
    """
    stop = threading.Event()
    failures = _PermanentFailures(journal)
    with ThreadPoolExecutor(policy.connections) as pool:
        downloader = _Downloader(client, folder, failures, policy, expected, stop, HostLimits(policy.per_host))
        try:
            yield from _in_order(pool, downloader, images, policy.connections * _QUEUED_PER_CONNECTION)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            failures.close()


class _PermanentFailures:
    """Images that cannot be downloaded from the URLs listed for them; each is written to the journal at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._failures = dict(_lines(path))
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n")  # ends a line that a killed run left incomplete
        self._lock = threading.Lock()

    def detail(self, image: ListedImage) -> str | None:
        """Why the image cannot be downloaded; None if it has not failed for good."""
        urls, detail = self._failures.get(image.name, ((), None))
        return detail if urls == image.urls else None

    def add(self, image: ListedImage, detail: str) -> None:
        with self._lock:
            self._file.write(json.dumps([image.name, image.urls, detail]) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class _Downloader:
    client: httpx.Client
    folder: Path
    failures: _PermanentFailures
    policy: RetryPolicy
    expected: Expected
    stop: threading.Event
    hosts: HostLimits
    unreachable: Counter[str] = field(default_factory=Counter[str])  # host -> failures to connect in a row

    def download(self, image: ListedImage) -> Reject | None:
        """None once the image is in the folder, otherwise why it is not."""
        if (self.folder / image.name).is_file():
            partials.discard(partials.beside(self.folder / image.name))  # of a run that was killed at its very end
            return None
        if (detail := self.failures.detail(image)) is not None:
            return Reject(image.name, "URL is dead", detail)
        errors: list[TransferError] = []
        for url in image.urls:
            try:
                self._download(image.name, url)
            except TransferError as error:
                errors.append(error)
            else:
                return None
        return self._reject(image, errors)

    def _reject(self, image: ListedImage, errors: list[TransferError]) -> Reject:
        detail = "; ".join(dict.fromkeys(map(str, errors))) or "none is listed"
        if any(error.retryable for error in errors):
            return Reject(image.name, "URL does not respond", detail)
        if any(isinstance(error, PrivateError) for error in errors):
            return Reject(image.name, "URL is not public", detail)
        self.failures.add(image, detail)
        return Reject(image.name, "URL is dead", detail)

    def _download(self, name: str, url: str) -> None:
        target = self.folder / name
        partial = partials.beside(target)
        partials.discard(partial)  # it may come from another URL
        try:
            retries.retry(lambda: self._attempt(url, partial), partial, self.policy, self.stop)
            partial.replace(target)
        finally:
            partials.discard(partial)

    def _attempt(self, url: str, partial: Path) -> None:
        host = server(url)
        if self.unreachable[host] >= MAX_CONNECT_FAILURES:
            raise TransferError(f"no connection to {host}", retryable=True)
        try:
            with self.hosts.of(url):
                transfer.attempt(self.client, url, partial, self.expected, on_bytes=self._check_stop)
        except responses.UnreachableError:
            self.unreachable[host] += 1
            raise
        self.unreachable[host] = 0
        try:
            check_image(partial.read_bytes())
        except Rejected as error:
            raise TransferError(str(error), retryable=False) from None

    def _check_stop(self, _: int) -> None:
        if self.stop.is_set():
            raise StoppedError


def _in_order(
    pool: ThreadPoolExecutor, downloader: _Downloader, images: Iterable[ListedImage], max_queued: int
) -> Iterator[Reject | None]:
    queue: deque[Future[Reject | None]] = deque()
    for image in images:
        queue.append(pool.submit(downloader.download, image))
        if len(queue) >= max_queued:
            yield queue.popleft().result()
    while queue:
        yield queue.popleft().result()


def _lines(path: Path) -> Iterator[tuple[str, tuple[tuple[str, ...], str]]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            name, urls, detail = json.loads(line)
            yield name, (tuple(urls), detail)
        except (ValueError, TypeError, RecursionError):
            continue  # the incomplete last line of a killed run
