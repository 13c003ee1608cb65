"""One attempt to bring what lies at one address into one file, going on where an earlier attempt was cut.

Unfinished bytes lie in a file of their own, and beside it a note on what they are part of: its ETag and its length.
An attempt adds to them only if the server still offers the same thing, and starts over if not.
"""

import json
import logging
import re
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from stages.acquisition.hosts import server, shown

CONNECT_S = 20.0
STALL_S = 60.0  # without a single byte
MAX_REDIRECTS = 5
_LATER = {408, 425, 429, 500, 502, 503, 504}  # statuses after which the same request may succeed
_KEY = {401, 403}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_PAGE = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)", re.IGNORECASE | re.DOTALL
)


class TransferError(Exception):
    """An attempt came to nothing; its message says why, without any secret."""

    def __init__(self, reason: str, *, may_return: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.may_return = may_return  # whether asking again can help
        self.wait_s = wait_s  # what the server asks for


class UnreachableError(TransferError):
    """There was no connection to the host, or no answer."""


class SlowError(TransferError):
    """The time for one file is over; another run may have better luck, this one has tried."""


@dataclass(frozen=True)
class Limits:
    """What one attempt may take."""

    size: int | None = None  # exact length in bytes, where known
    most: int = 2**40  # bytes
    seconds: float = float("inf")
    page_is_fine: bool = False  # whether an HTML page can be what was asked for


def client() -> httpx.Client:
    """A client for any number of threads; it neither logs addresses nor keeps cookies for other hosts."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log whole addresses, with the key
    return httpx.Client(
        headers={"Accept-Encoding": "identity", "User-Agent": "fabnet-pipelines"},
        timeout=httpx.Timeout(STALL_S, connect=CONNECT_S),
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
    )


def attempt(
    client: httpx.Client,
    address: str,
    partial: Path,
    limits: Limits,
    *,
    login: tuple[str, str] | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Make `partial` whole. Whatever arrived before a failure stays there for the next attempt.

    Raises:
        TransferError: refused, cut, another length than expected, a page in place of a file, or beyond a limit.
    """
    if not server(address):
        raise TransferError("no valid address", may_return=False)
    have = _Unfinished(partial)
    if have.size and have.size == have.length:
        return
    headers = have.headers()
    auth = httpx.BasicAuth(*login) if login else None
    try:
        with client.stream("GET", address, headers=headers, auth=auth) as response:
            _check_status(response, have)
            _receive(response, have, limits, on_bytes)
    except httpx.HTTPError as error:
        raise _failure(error, address) from None
    except (httpx.InvalidURL, UnicodeError):
        raise TransferError("no valid address", may_return=False) from None


def read_range(
    client: httpx.Client, address: str, start: int, count: int, login: tuple[str, str] | None = None
) -> tuple[bytes, int]:
    """Up to `count` bytes from `start` on, and the length of the whole file.

    Raises:
        TransferError: refused, cut, or the server cannot hand out pieces.
    """
    headers = {"Range": f"bytes={start}-{start + count - 1}"}
    try:
        with client.stream("GET", address, headers=headers, auth=httpx.BasicAuth(*login) if login else None) as answer:
            _check_status(answer, None)
            match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != start:
                raise TransferError("the server hands out no pieces of files", may_return=False)
            data = answer.read()
    except httpx.HTTPError as error:
        raise _failure(error, address) from None
    return data, int(match[2])


def forget(partial: Path) -> None:
    """Remove unfinished bytes, or what is left of them once the whole file has been moved away."""
    partial.unlink(missing_ok=True)
    _note_of(partial).unlink(missing_ok=True)


class _Unfinished:
    """Bytes of an earlier attempt, and the note on what they are part of."""

    def __init__(self, partial: Path) -> None:
        self.path = partial
        self._note = _note_of(partial)
        self.etag, self.length = self._noted()
        self.size = partial.stat().st_size if partial.exists() else 0
        if not (self.etag or self.length):
            self.size = 0  # bytes of nobody knows what

    def headers(self) -> dict[str, str]:
        if not self.size:
            return {}
        condition = {"If-Range": self.etag} if self.etag.startswith('"') else {}
        return {"Range": f"bytes={self.size}-", **condition}

    def begin(self, etag: str, length: int | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        self._note.write_text(json.dumps([etag, length]), encoding="utf-8")
        self.etag, self.length, self.size = etag, length, 0

    def forget(self) -> None:
        forget(self.path)

    def _noted(self) -> tuple[str, int | None]:
        try:
            etag, length = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return "", None
        return etag, length


def _note_of(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.note")


def _check_status(response: httpx.Response, have: _Unfinished | None) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:
        if have is not None:
            have.forget()
        raise TransferError("the server no longer has the rest of the file, it begins again", may_return=True)
    if status in _KEY:
        raise TransferError(f"access denied (HTTP {status}): key or login wrong, missing or expired", may_return=False)
    if status in (404, 410):
        raise TransferError(f"no such file on the server (HTTP {status})", may_return=False)
    if status in _LATER:
        wait_s = _retry_after(response.headers.get("Retry-After", ""))
        raise TransferError(f"the server is busy or broken (HTTP {status})", may_return=True, wait_s=wait_s)
    raise TransferError(f"the server refuses (HTTP {status})", may_return=False)


def _retry_after(text: str) -> float | None:
    """Seconds to wait, from a number or a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _receive(response: httpx.Response, have: _Unfinished, limits: Limits, on_bytes: Callable[[int], None]) -> None:
    length = _place(response, have)
    if length is not None:
        _check_length(length, have, limits)
    if not limits.page_is_fine and response.headers.get("Content-Type", "").startswith("text/html"):
        raise _page(have)
    started = time.monotonic()
    with have.path.open("ab") as file:
        for chunk in response.iter_raw():
            if not have.size and not limits.page_is_fine and _PAGE.match(chunk):
                raise _page(have)
            file.write(chunk)
            have.size += len(chunk)
            on_bytes(len(chunk))
            _check_within(have, limits, time.monotonic() - started)
    _check_whole(have, length, limits)


def _place(response: httpx.Response, have: _Unfinished) -> int | None:
    """The length of the whole file, where told; afterwards what follows belongs at the end of the unfinished bytes."""
    etag = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
    if response.status_code == 200:
        told = response.headers.get("Content-Length", "")
        have.begin(etag, int(told) if told.isdigit() else None)
        return have.length
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    same = match and int(match[1]) == have.size and have.length in (None, int(match[2])) and etag == have.etag
    if not match or not same:
        have.forget()
        raise TransferError("the file has changed on the server, it begins again", may_return=True)
    return int(match[2])


def _check_length(length: int, have: _Unfinished, limits: Limits) -> None:
    if length > limits.most:
        have.forget()
        raise TransferError(f"too large: {length} bytes, at most {limits.most} are fetched", may_return=False)
    if limits.size is not None and length != limits.size:
        have.forget()
        raise TransferError(f"another length: expected {limits.size} bytes, {length} are offered", may_return=True)


def _check_within(have: _Unfinished, limits: Limits, seconds: float) -> None:
    most = limits.most if limits.size is None else limits.size
    if have.size > most:
        have.forget()
        raise TransferError(f"too large: more than {most} bytes arrive", may_return=limits.size is not None)
    if seconds > limits.seconds:
        raise SlowError(f"too slow: not whole after {limits.seconds:.0f} s", may_return=True)


def _check_whole(have: _Unfinished, length: int | None, limits: Limits) -> None:
    expected = limits.size if limits.size is not None else length
    if expected is not None and have.size != expected:
        raise TransferError(f"cut off after {have.size} of {expected} bytes", may_return=True)


def _page(have: _Unfinished) -> TransferError:
    have.forget()
    return TransferError("an HTML page came in place of the file: the address, key or login is wrong", may_return=False)


def _failure(error: httpx.HTTPError, address: str) -> TransferError:
    """The error without its own words, which may hold the address."""
    place = shown(address)
    if isinstance(error, httpx.TimeoutException):
        return UnreachableError(f"no answer in time from {place}", may_return=True)
    if _is_certificate(error):
        return TransferError(
            f"the certificate of {place} cannot be verified: set SSL_CERT_FILE to that of its authority",
            may_return=False,
        )
    if isinstance(error, httpx.ConnectError):
        return UnreachableError(f"no connection to {place}", may_return=True)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.TooManyRedirects):
        return TransferError(f"{place} leads nowhere: redirected too often, or to no http(s) address", may_return=False)
    return TransferError(f"the connection to {place} was cut", may_return=True)


def _is_certificate(error: BaseException) -> bool:
    cause: Any = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
