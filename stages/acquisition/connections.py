"""Connections for downloads: where they may lead, and how long an answer may take to begin.

A release lists URLs that its owner does not watch: today's owner of a name, or a redirect, may lead into the network of
whoever downloads. A guarded client therefore connects to addresses of the public internet alone, and to servers that
the user has named. The address that was checked is the one it connects to, so a name cannot change in between.

Behind a proxy it is the proxy that looks names up and connects, and nothing is looked up here. It is not handed URLs
with a private address or with a name that only local networks have.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, cast

import httpcore
import httpx

from stages.acquisition.hosts import Server, server_of

_LOCAL = (".localhost", ".local", ".internal", ".lan", ".home.arpa")  # ends of names of local networks
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # an IPv4 address in the last four bytes
IP = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotPublicError(Exception):
    """A URL leads to an address that is not on the public internet, nor on a server that the user has named."""


def addresses(host: str, port: int) -> list[str]:
    """The addresses of a host by the system's resolver.

    Raises:
        OSError: it has none.
    """
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Network(NamedTuple):
    """How names become addresses, and addresses connections."""

    resolve: Callable[[str, int], list[str]]  # raises OSError
    backend: httpcore.NetworkBackend


SYSTEM = Network(addresses, httpcore.SyncBackend())


class Client(httpx.Client):
    """A client whose answers begin in time; with `named`, it connects to public addresses and these servers alone."""

    def __init__(self, named: Collection[Server] | None, network: Network, **settings: Any) -> None:
        self._named, self._network = named, network
        super().__init__(**settings)

    def _init_transport(self, *args: Any, **settings: Any) -> httpx.BaseTransport:
        return _on(super()._init_transport(*args, **settings), _Backend(self._named, self._network))

    def _init_proxy_transport(self, *args: Any, **settings: Any) -> httpx.BaseTransport:
        transport = _on(super()._init_proxy_transport(*args, **settings), _Backend(None, self._network))
        return transport if self._named is None else _BehindProxy(transport, self._named)


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, an IPv4 address inside of it included."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return all(part.is_global and not part.is_multicast for part in (ip, *_inside(ip)))


def is_local(host: str) -> bool:
    """Whether a host is a private address or a name of a local network; names are not looked up."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(_LOCAL)
    return not all(is_public(str(address[4][0])) for address in found)


@contextmanager
def answer_within(seconds: float) -> Generator[None, None, None]:
    """Inside the block, what this thread waits for has to come within so many seconds in all, however slowly it drips.

    After that, reading raises a timeout.
    """
    _waiting.until = time.monotonic() + seconds
    try:
        yield
    finally:
        _waiting.until = float("inf")


class _Waiting(threading.local):
    until = float("inf")

    def left(self, timeout: float | None) -> float:
        """Seconds that the next step may take.

        Raises:
            httpcore.ReadTimeout: none.
        """
        left = min(self.until - time.monotonic(), threading.TIMEOUT_MAX if timeout is None else timeout)
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


_waiting = _Waiting()


def _inside(ip: IP) -> list[IP]:
    """IPv4 addresses that stand inside of an IPv6 address."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        found.append(ipaddress.IPv4Address(ip.packed[-4:]))
    return [part for part in found if part is not None]


def _allowed(host: str, port: int, named: Collection[Server] | None, network: Network) -> list[str]:
    """The addresses of a host to which a connection may lead; of an unguarded client the host as it is.

    Raises:
        NotPublicError: there is none.
        OSError: the name has no address.
    """
    if named is None or (host, port) in named:
        return [host]
    found = network.resolve(host, port)
    public = [address for address in found if is_public(address)]
    if not public:
        raise NotPublicError
    return public


class _Backend(httpcore.NetworkBackend):
    def __init__(self, named: Collection[Server] | None, network: Network) -> None:
        self._named, self._network = named, network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            allowed = _allowed(host, port, self._named, self._network)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None
        failure: Exception = httpcore.ConnectError("no address")
        for address in allowed:
            try:
                left = _waiting.left(timeout)
                stream = self._network.backend.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection that reads no longer than `answer_within` allows."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _waiting.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _waiting.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """A handshake is many small reads, each with the timeout; a clock beside it ends them all."""
        left = _waiting.left(timeout)
        clock = threading.Timer(left, _shut, [self._stream.get_extra_info("socket")])
        clock.daemon = True
        clock.start()
        try:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))
        finally:
            clock.cancel()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _shut(connection: Any) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


class _BehindProxy(httpx.BaseTransport):
    """Hands requests to a proxy, but for those that are known to lead to private addresses."""

    def __init__(self, transport: httpx.BaseTransport, named: Collection[Server]) -> None:
        self._transport, self._named = transport, named

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        server = server_of(str(request.url))
        if server not in self._named and is_local(server[0]):
            raise NotPublicError
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()


def _on(transport: httpx.BaseTransport, backend: httpcore.NetworkBackend) -> httpx.BaseTransport:
    """The transport, connecting through `backend`: httpx has no argument for it."""
    pool = cast(Any, transport)._pool
    if not isinstance(pool._network_backend, httpcore.NetworkBackend):  # a guard that is not asked would guard nothing
        raise RuntimeError(f"httpx {httpx.__version__} connects in another way than the guarded client knows")
    pool._network_backend = backend
    return transport
