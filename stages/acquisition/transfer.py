"""One attempt to download one URL into one file; it resumes an earlier attempt.

An attempt appends to the partial file only if the server still offers the same file, and starts over otherwise.
"""

import logging
import re
import ssl
import time
import warnings
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from stages.acquisition import answers, connections
from stages.acquisition.connections import Network, NotPublicError
from stages.acquisition.hosts import Server, server, without_secrets
from stages.acquisition.partials import Partial
from stages.runtime import proxies

CONNECT_S = 20.0
STALL_S = 60.0  # without a single byte
ANSWER_S = 120.0  # from the request to the end of the answer's headers, however slowly they drip
PACE_S, PACE_BYTES_PER_S = 300.0, 1000  # after so long, less than this on average is not worth waiting for
MAX_REDIRECTS = 5
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # statuses after which the same request may succeed
_DENIED = {401, 403}
_LENGTH = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_SECONDS = re.compile(r"[0-9]{1,9}")


class TransferError(Exception):
    """An attempt failed; the message says why and contains no secret."""

    def __init__(self, reason: str, *, retryable: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.retryable = retryable
        self.wait_s = wait_s  # requested by the server


class PrivateError(TransferError):
    """The URL leads to a private address."""


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
    compressed: bool = False  # whether the file is compressed itself, of which a server may tell
    digest_known: bool = False  # whether the whole file is compared with a digest afterwards


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
        timeout=httpx.Timeout(STALL_S, connect=CONNECT_S),
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
    partial = Partial(path, digest_known=limits.digest_known)
    if partial.is_complete:
        return
    with _answer(client, url, partial.request_headers(), login) as response:
        _check_status(response, partial)
        _receive(response, partial, limits, on_bytes)


def read_range(
    client: httpx.Client, url: str, start: int, count: int, login: tuple[str, str] | None = None
) -> tuple[bytes, int]:
    """Up to `count` bytes from `start` on, and the length of the whole file; no more than that is read or kept.

    Raises:
        TransferError: refused, cut off, too slow, or the server does not support ranges.
    """
    with _answer(client, url, {"Range": f"bytes={start}-{start + count - 1}"}, login) as response:
        _check_status(response, None)
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


@contextmanager
def _answer(
    client: httpx.Client, url: str, headers: Mapping[str, str], login: tuple[str, str] | None
) -> Generator[httpx.Response, None, None]:
    """The answer to a request, after redirects; its body is not read yet, and that of a redirect never.

    Raises:
        TransferError: no answer, or an error inside the block.
    """
    if not server(url):
        raise TransferError("not a valid URL", retryable=False)
    try:
        with ExitStack() as stack:
            request: httpx.Request | None = client.build_request("GET", url, headers=dict(headers))
            auth = httpx.BasicAuth(*login) if login else None
            for _ in range(MAX_REDIRECTS + 1):
                with connections.answer_within(ANSWER_S):
                    response = client.send(request, auth=auth, stream=True)
                request, auth = response.next_request, None  # what may be told to another server, httpx has decided
                if request is None:
                    stack.callback(response.close)
                    yield response
                    return
                response.close()
        raise httpx.TooManyRedirects("")
    except NotPublicError:
        reason = (
            "it leads to a private address, which only a server that FABNET_MIRROR or FABNET_<HOST>_URL names may have"
        )
        raise PrivateError(reason, retryable=False) from None
    except httpx.HTTPError as error:
        raise _failure(error, url) from None
    except (httpx.InvalidURL, UnicodeError):
        raise TransferError("not a valid URL", retryable=False) from None


def _check_status(response: httpx.Response, partial: Partial | None) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 416 and partial is None:
        raise TransferError("empty on the server, or shorter than it was", retryable=False)
    if status == 416 and partial is not None:
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
    if _SECONDS.fullmatch(text):
        return float(text)
    with suppress(ValueError, TypeError, OverflowError, OSError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _receive(response: httpx.Response, partial: Partial, limits: Limits, on_bytes: Callable[[int], None]) -> None:
    length = _start_or_resume(response, partial)
    if length is not None:
        _check_length(length, partial, limits)
    if not limits.html_allowed and response.headers.get("Content-Type", "").startswith("text/html"):
        raise _html_error(partial)
    if not limits.compressed and response.headers.get("Content-Encoding", "identity") != "identity":
        partial.discard()
        raise _encoded()
    started, before = time.monotonic(), partial.size
    with partial.path.open("ab") as file:
        for chunk in response.iter_raw():
            if not partial.size and not limits.html_allowed and answers.is_page(chunk):
                raise _html_error(partial)
            file.write(chunk)
            partial.size += len(chunk)
            on_bytes(len(chunk))
            seconds = time.monotonic() - started
            _check_limits(partial, limits, seconds)
            _check_pace(partial.size - before, seconds)
    _check_complete(partial, length, limits)


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


def _check_pace(received: int, seconds: float) -> None:
    if seconds > PACE_S and received < PACE_BYTES_PER_S * seconds:
        raise SlowError(f"too slow: {received} bytes in {seconds:.0f} s", retryable=True)


def _check_complete(partial: Partial, length: int | None, limits: Limits) -> None:
    expected = limits.size if limits.size is not None else length
    if expected is not None and partial.size != expected:
        raise TransferError(f"cut off after {partial.size} of {expected} bytes", retryable=True)


def _html_error(partial: Partial) -> TransferError:
    partial.discard()
    return TransferError("an HTML page instead of the file: the URL, key or login is wrong", retryable=False)


def _encoded() -> TransferError:
    return TransferError("the server compresses the file, although it was asked not to", retryable=False)


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
