"""The response to one request, after redirects, or why there is none: in our own words, without a secret."""

import re
import ssl
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from stages.acquisition import connections
from stages.acquisition.connections import NotPublicError
from stages.acquisition.hosts import server, without_secrets
from stages.runtime import limits

MAX_REDIRECTS = 5
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # statuses after which the same request may succeed
_DENIED = {401, 403}
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


@contextmanager
def response_to(
    client: httpx.Client, url: str, headers: Mapping[str, str], login: tuple[str, str] | None
) -> Generator[httpx.Response, None, None]:
    """The response, after redirects; its body is not read yet, and that of a redirect never.

    Raises:
        TransferError: no response, or an error inside the block.
    """
    if not server(url):
        raise TransferError("not a valid URL", retryable=False)
    try:
        with ExitStack() as stack:
            request: httpx.Request | None = client.build_request("GET", url, headers=dict(headers))
            auth = httpx.BasicAuth(*login) if login else None
            for _ in range(MAX_REDIRECTS + 1):
                with connections.answer_within(limits.now().answer_s):
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


def check_status(response: httpx.Response) -> None:
    """Nothing, if the response holds a file or a part of one.

    Raises:
        TransferError: it does not; status.
    """
    status = response.status_code
    if status in (200, 206):
        return
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
