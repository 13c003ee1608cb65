"""One attempt to download one URL into one file; it resumes an earlier attempt.

An attempt appends to the partial file only if the server still offers the same file, and starts over otherwise.
"""

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

from stages.acquisition.hosts import server, without_secrets
from stages.acquisition.partials import Partial
from stages.runtime import proxies

CONNECT_S = 20.0
STALL_S = 60.0  # without a single byte
MAX_REDIRECTS = 5
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # statuses after which the same request may succeed
_DENIED = {401, 403}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_HTML = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)", re.IGNORECASE | re.DOTALL
)


class TransferError(Exception):
    """An attempt failed; the message says why and contains no secret."""

    def __init__(self, reason: str, *, retryable: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.retryable = retryable
        self.wait_s = wait_s  # requested by the server


class UnreachableError(TransferError):
    """No connection to the host, or no response."""


class SlowError(TransferError):
    """Timed out; not retried in this run."""


@dataclass(frozen=True)
class Limits:
    """Limits on one attempt."""

    size: int | None = None  # exact length in bytes, where known
    max_bytes: int = 2**40
    max_s: float = float("inf")
    html_allowed: bool = False  # whether the file may be an HTML page


def client() -> httpx.Client:
    """A client for any number of threads; it neither logs URLs nor sends one host's cookies to another.

    Raises:
        UserError: the environment names a proxy that cannot be used.
    """
    proxies.check()
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log whole URLs, with the key
    return httpx.Client(
        headers={"Accept-Encoding": "identity", "User-Agent": "fabnet-pipelines"},
        timeout=httpx.Timeout(STALL_S, connect=CONNECT_S),
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
    )


def attempt(
    client: httpx.Client,
    url: str,
    path: Path,
    limits: Limits,
    *,
    login: tuple[str, str] | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Complete the partial file `path`. After a failure it keeps what has arrived, for the next attempt.

    Raises:
        TransferError: refused, cut off, of another length than expected, an HTML page instead of the file, or beyond
            a limit.
    """
    if not server(url):
        raise TransferError("not a valid URL", retryable=False)
    partial = Partial(path)
    if partial.is_complete:
        return
    auth = httpx.BasicAuth(*login) if login else None
    try:
        with client.stream("GET", url, headers=partial.request_headers(), auth=auth) as response:
            _check_status(response, partial)
            _receive(response, partial, limits, on_bytes)
    except httpx.HTTPError as error:
        raise _failure(error, url) from None
    except (httpx.InvalidURL, UnicodeError):
        raise TransferError("not a valid URL", retryable=False) from None


def read_range(
    client: httpx.Client, url: str, start: int, count: int, login: tuple[str, str] | None = None
) -> tuple[bytes, int]:
    """Up to `count` bytes from `start` on, and the length of the whole file.

    Raises:
        TransferError: refused, cut off, or the server does not support ranges.
    """
    headers = {"Range": f"bytes={start}-{start + count - 1}"}
    try:
        with client.stream("GET", url, headers=headers, auth=httpx.BasicAuth(*login) if login else None) as response:
            _check_status(response, None)
            match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != start:
                raise TransferError("the server does not support range requests", retryable=False)
            data = response.read()
    except httpx.HTTPError as error:
        raise _failure(error, url) from None
    return data, int(match[2])


def _check_status(response: httpx.Response, partial: Partial | None) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416:
        if partial is not None:
            partial.discard()
        raise TransferError("the server does not have the rest of the file, starting over", retryable=True)
    if status in _DENIED:
        raise TransferError(f"access denied (HTTP {status}): key or login wrong, missing or expired", retryable=False)
    if status in (404, 410):
        raise TransferError(f"no such file on the server (HTTP {status})", retryable=False)
    if status in _BUSY:
        wait_s = _retry_after(response.headers.get("Retry-After", ""))
        raise TransferError(f"the server is busy or broken (HTTP {status})", retryable=True, wait_s=wait_s)
    raise TransferError(f"the server refuses (HTTP {status})", retryable=False)


def _retry_after(text: str) -> float | None:
    """Seconds to wait, from a number or a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _receive(response: httpx.Response, partial: Partial, limits: Limits, on_bytes: Callable[[int], None]) -> None:
    length = _start_or_resume(response, partial)
    if length is not None:
        _check_length(length, partial, limits)
    if not limits.html_allowed and response.headers.get("Content-Type", "").startswith("text/html"):
        raise _html_error(partial)
    started = time.monotonic()
    with partial.path.open("ab") as file:
        for chunk in response.iter_raw():
            if not partial.size and not limits.html_allowed and _HTML.match(chunk):
                raise _html_error(partial)
            file.write(chunk)
            partial.size += len(chunk)
            on_bytes(len(chunk))
            _check_limits(partial, limits, time.monotonic() - started)
    _check_complete(partial, length, limits)


def _start_or_resume(response: httpx.Response, partial: Partial) -> int | None:
    """The length of the whole file, if the server sends it. Afterwards the body is to be appended to `partial`."""
    etag = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        partial.start(etag, int(length) if length.isdigit() else None)
        return partial.length
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    same = match and int(match[1]) == partial.size and partial.length in (None, int(match[2])) and etag == partial.etag
    if not match or not same:
        partial.discard()
        raise TransferError("the file has changed on the server, starting over", retryable=True)
    return int(match[2])


def _check_length(length: int, partial: Partial, limits: Limits) -> None:
    if length > limits.max_bytes:
        partial.discard()
        raise TransferError(f"too large: {length} bytes, expected at most {limits.max_bytes}", retryable=False)
    if limits.size is not None and length != limits.size:
        partial.discard()
        raise TransferError(f"wrong length: expected {limits.size} bytes, the server has {length}", retryable=True)


def _check_limits(partial: Partial, limits: Limits, seconds: float) -> None:
    max_bytes = limits.max_bytes if limits.size is None else limits.size
    if partial.size > max_bytes:
        partial.discard()
        raise TransferError(f"too large: more than {max_bytes} bytes arrive", retryable=limits.size is not None)
    if seconds > limits.max_s:
        raise SlowError(f"too slow: not complete after {limits.max_s:.0f} s", retryable=True)


def _check_complete(partial: Partial, length: int | None, limits: Limits) -> None:
    expected = limits.size if limits.size is not None else length
    if expected is not None and partial.size != expected:
        raise TransferError(f"cut off after {partial.size} of {expected} bytes", retryable=True)


def _html_error(partial: Partial) -> TransferError:
    partial.discard()
    return TransferError("an HTML page instead of the file: the URL, key or login is wrong", retryable=False)


def _failure(error: httpx.HTTPError, url: str) -> TransferError:
    """The error in our own words: httpx may quote the URL with its key."""
    shown = without_secrets(url)
    if isinstance(error, httpx.TimeoutException):
        return UnreachableError(f"no response in time from {shown}", retryable=True)
    if _is_certificate_error(error):
        return TransferError(
            f"the certificate of {shown} cannot be verified: set SSL_CERT_FILE to that of its authority",
            retryable=False,
        )
    if isinstance(error, httpx.ConnectError):
        return UnreachableError(f"no connection to {shown}", retryable=True)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.TooManyRedirects):
        return TransferError(f"{shown} redirects too often, or to a URL that is not http(s)", retryable=False)
    return TransferError(f"the connection to {shown} was cut off", retryable=True)


def _is_certificate_error(error: BaseException) -> bool:
    cause: Any = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
