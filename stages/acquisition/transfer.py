"""One attempt to download one URL into one file; it resumes an earlier attempt.

An attempt appends to the partial file only if the server still offers the same file, and starts over otherwise.
"""

import logging
import re
import shutil
import time
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import httpx

from stages.acquisition import answers, connections
from stages.acquisition.connections import Network
from stages.acquisition.hosts import Server
from stages.acquisition.partials import Partial
from stages.acquisition.responses import SlowError, TransferError, check_status, response_to
from stages.runtime import limits, proxies

CONNECT_S = 20.0
PACE_S, PACE_BYTES_PER_S = 300.0, 1000  # after so long, less than this on average is not worth waiting for
_NO_SUCH_RANGE = 416  # status
_LENGTH = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


@dataclass(frozen=True)
class Expected:
    """What is known of the file before an attempt."""

    size: int | None = None  # exact length in bytes, where known
    max_bytes: int | None = None  # where it is not; None: `limits.download_gib`
    max_s: float = float("inf")
    html_allowed: bool = False  # whether the file may be an HTML page
    compressed: bool = False  # whether the file is compressed itself, of which a server may tell
    digest_known: bool = False  # whether the whole file is compared with a digest afterwards
    end_checked: bool = False  # whether a file that was cut off is noticed afterwards

    @property
    def needs_length(self) -> bool:
        """Whether only the server can tell that the file is whole."""
        return self.size is None and not self.digest_known and not self.end_checked


def client(named: Collection[Server] | None = None, network: Network = connections.SYSTEM) -> httpx.Client:
    """A client for any number of threads; it neither logs URLs nor sends one host's cookies to another.

    With `named` it is guarded: it connects to these servers and to public addresses alone.

    Raises:
        UserError: the environment names a proxy that cannot be used.
    """
    proxies.check()
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log whole URLs, with the key
    warnings.filterwarnings("ignore", "http.cookiejar bug", UserWarning)  # a damaged cookie; it is left out
    return connections.Client(
        named,
        network,
        headers={"Accept-Encoding": "identity", "User-Agent": "fabnet-pipelines"},
        timeout=httpx.Timeout(limits.now().stall_s, connect=CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
    )


def attempt(
    client: httpx.Client,
    url: str,
    path: Path,
    expected: Expected,
    *,
    login: tuple[str, str] | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Complete the partial file `path`. After a failure it keeps what has arrived, for the next attempt.

    Raises:
        TransferError: refused, cut off, of another length than expected, an HTML page instead of the file, or beyond
            a limit.
    """
    partial = Partial(path, digest_known=expected.digest_known)
    if partial.is_complete:
        return
    with response_to(client, url, partial.request_headers(), login) as response:
        if response.status_code == _NO_SUCH_RANGE:
            partial.discard()
            raise TransferError("the server does not have the rest of the file, starting over", retryable=True)
        check_status(response)
        _receive(response, partial, expected, on_bytes)


def read_range(
    client: httpx.Client, url: str, start: int, count: int, login: tuple[str, str] | None = None
) -> tuple[bytes, int]:
    """Up to `count` bytes from `start` on, and the length of the whole file; no more than that is read or kept.

    Raises:
        TransferError: refused, cut off, too slow, or the server does not support ranges.
    """
    with response_to(client, url, {"Range": f"bytes={start}-{start + count - 1}"}, login) as response:
        if response.status_code == _NO_SUCH_RANGE:
            raise TransferError("empty on the server, or shorter than it was", retryable=False)
        check_status(response)
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status_code != 206 or match is None or int(match[1]) != start:
            raise TransferError("the server does not support range requests", retryable=False)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _encoded()
        data = _at_most(response, count)
    if not data:
        raise TransferError(f"cut off: no byte of {count} arrives", retryable=True)
    return data, int(match[3])


def _at_most(response: httpx.Response, count: int) -> bytes:
    """The body of an answer of up to `count` bytes."""
    data, started = bytearray(), time.monotonic()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > count:
            raise TransferError(f"too large: more than the requested {count} bytes arrive", retryable=False)
        _check_pace(len(data), time.monotonic() - started)
    return bytes(data)


def _receive(response: httpx.Response, partial: Partial, expected: Expected, on_bytes: Callable[[int], None]) -> None:
    length = _start_or_resume(response, partial)
    room = partial.size + _free_bytes(partial.path.parent)
    _check_length(length, partial, expected, room)
    if expected.needs_length and length is None and not _tells_its_end(response):
        partial.discard()
        raise TransferError(
            "nobody tells how long the file is, so it may be cut off: download it by hand",
            retryable=False,
        )
    if not expected.html_allowed and response.headers.get("Content-Type", "").startswith("text/html"):
        raise _html_error(partial)
    if not expected.compressed and response.headers.get("Content-Encoding", "identity") != "identity":
        partial.discard()
        raise _encoded()
    started, before = time.monotonic(), partial.size
    with partial.path.open("ab") as file:
        for chunk in response.iter_raw():
            if not partial.size and not expected.html_allowed and answers.is_page(chunk):
                raise _html_error(partial)
            file.write(chunk)
            partial.size += len(chunk)
            on_bytes(len(chunk))
            seconds = time.monotonic() - started
            _check_limits(partial, expected, room, seconds)
            _check_pace(partial.size - before, seconds)
    _check_complete(partial, length, expected)


def _start_or_resume(response: httpx.Response, partial: Partial) -> int | None:
    """The length of the whole file, if the server sends it. Afterwards the body is to be appended to `partial`."""
    state = _state(response)
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        partial.start(state, int(length) if _LENGTH.fullmatch(length) else None)
        return partial.length
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    same = (
        match and int(match[1]) == partial.size and partial.length in (None, int(match[3])) and state == partial.state
    )
    if not partial.size or not match or not same:  # without a size, nothing was asked that this may answer
        partial.discard()
        raise TransferError("the file has changed on the server, starting over", retryable=True)
    return int(match[3])


def _state(response: httpx.Response) -> str:
    """What the server calls this state of the file: equal bytes have it in common. Empty if it does not say."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _tells_its_end(response: httpx.Response) -> bool:
    """Whether an answer without a length has a mark at its end, so that one that was cut off is an error."""
    return "chunked" in response.headers.get("Transfer-Encoding", "").lower()


def _check_length(length: int | None, partial: Partial, expected: Expected, room: int) -> None:
    """Nothing, if a file of this length may come; `room`: bytes that it may take on the disk."""
    if length is None:
        return
    if expected.size is not None and length != expected.size:
        partial.discard()
        raise TransferError(f"wrong length: expected {expected.size} bytes, the server has {length}", retryable=True)
    if length > _most_bytes(expected):
        partial.discard()
        raise _too_large(f"{length} bytes, expected at most {_most_bytes(expected)}", expected)
    if length > room:
        if not partial.size:  # what has come already goes on once there is room
            partial.discard()
        raise TransferError(f"too large: {length} bytes, of which the disk has room for {room}", retryable=False)


def _check_limits(partial: Partial, expected: Expected, room: int, seconds: float) -> None:
    if partial.size > (most := _most_bytes(expected)):
        partial.discard()
        raise _too_large(f"more than {most} bytes arrive", expected)
    if partial.size > room:
        partial.discard()
        raise TransferError(f"too large: more than {room} bytes arrive, which fill the disk", retryable=False)
    if seconds > expected.max_s:
        raise SlowError(f"too slow: not complete after {expected.max_s:.0f} s", retryable=True)


def _most_bytes(expected: Expected) -> int:
    if expected.size is not None:
        return expected.size
    return int(limits.now().download_gib * limits.GIB) if expected.max_bytes is None else expected.max_bytes


def _too_large(found: str, expected: Expected) -> TransferError:
    open_ended = expected.size is None and expected.max_bytes is None
    way_out = "; if the owner's file is as large, raise limits.download_gib in params.yaml" if open_ended else ""
    return TransferError(f"too large: {found}{way_out}", retryable=expected.size is not None)


def _check_pace(received: int, seconds: float) -> None:
    if seconds > PACE_S and received < PACE_BYTES_PER_S * seconds:
        raise SlowError(f"too slow: {received} bytes in {seconds:.0f} s", retryable=True)


def _check_complete(partial: Partial, length: int | None, expected: Expected) -> None:
    whole = expected.size if expected.size is not None else length
    if whole is not None and partial.size != whole:
        raise TransferError(f"cut off after {partial.size} of {whole} bytes", retryable=True)


def _html_error(partial: Partial) -> TransferError:
    partial.discard()
    return TransferError("an HTML page instead of the file: the URL, key or login is wrong", retryable=False)


def _encoded() -> TransferError:
    return TransferError("the server compresses the file, although it was asked not to", retryable=False)
