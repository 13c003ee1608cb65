"""A real HTTP server on the loopback interface, with faults on demand."""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Fault:
    """A fault in one response; none by default."""

    status: int = 0  # sent instead of the file
    headers: Mapping[str, str] = field(default_factory=dict)  # sent as well
    body: bytes = b"sorry"
    cut_after: float = 1.0  # share of the bytes that are sent before the connection is cut
    length_off_by: int = 0  # added to Content-Length
    flip: bool = False  # whether one byte is wrong
    delay_s: float = 0.0  # before the response
    chunk_pause_s: float = 0.0  # between pieces of `chunk` bytes
    chunk: int = 1 << 16
    no_ranges: bool = False  # ignore requests for ranges
    no_length: bool = False  # no Content-Length: the connection closes at the end of the file
    no_etag: bool = False
    reset: bool = False  # whether the connection ends in a reset
    any_state: bool = False  # whether the rest of a file is sent although it has changed
    partly: bool = False  # whether a request for the whole file is answered as one for a part
    range_off_by: tuple[int, int] = (0, 0)  # added to the start and the length that Content-Range tells
    then: Callable[[], None] | None = None  # what happens once the bytes are sent


FINE = Fault()


@dataclass
class Site:
    """Files by path, the faults, and a record of requests and bytes sent."""

    files: dict[str, bytes]
    fault: Callable[["Request"], Fault] = lambda request: FINE
    requests: list["Request"] = field(default_factory=list)
    sent: int = 0  # bytes of file content
    connections: int = 0  # now
    max_connections: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Request:
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    number: int  # earlier requests for this path


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve the site inside the block; its `url` is set."""
    handler = type("Handler", (_Handler,), {"site": site})
    server = _QuietServer(("127.0.0.1", 0), handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may disconnect."""


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.site.lock:
            self.site.connections += 1
            self.site.max_connections = max(self.site.max_connections, self.site.connections)
        try:
            self._respond(self._request())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.site.lock:
                self.site.connections -= 1

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        path = query["file"][0] if "file" in query else unquote(parts.path).lstrip("/")
        with self.site.lock:
            number = sum(request.path == path for request in self.site.requests)
            request = Request(path, query, dict(self.headers), number)
            self.site.requests.append(request)
        return request

    def _respond(self, request: Request) -> None:
        fault = self.site.fault(request)
        time.sleep(fault.delay_s)
        if fault.status:
            self._send_body(fault.status, fault.headers, fault.body)
        elif request.path not in self.site.files:
            self._send_body(404, {"Content-Type": "text/html"}, b"<html>not found</html>")
        else:
            self._send_file(self.site.files[request.path], fault)

    def _send_body(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, data: bytes, fault: Fault) -> None:
        etag = f'"{hash(data)}"'
        start = self._start(len(data), etag, fault)
        if start > len(data) or (start and start == len(data)):
            self._send_body(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
            return
        body = bytearray(data[start:])
        if fault.flip and body:
            body[len(body) // 2] ^= 255
        in_part = start or fault.partly
        self.send_response(206 if in_part else 200)
        if in_part:
            first, length = (value + off for value, off in zip((start, len(data)), fault.range_off_by, strict=True))
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{length}")
        if not fault.no_etag:
            self.send_header("ETag", etag)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        if fault.no_length:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(max(0, len(body) + fault.length_off_by)))
        self.end_headers()
        self._send_slowly(bytes(body), fault)

    def _start(self, size: int, etag: str, fault: Fault) -> int:
        requested = self.headers.get("Range", "")
        same = fault.any_state or self.headers.get("If-Range", etag) in (etag, fault.headers.get("Last-Modified"))
        if fault.no_ranges or not requested.startswith("bytes=") or not same:
            return 0
        return int(requested.removeprefix("bytes=").split("-")[0])

    def _send_slowly(self, body: bytes, fault: Fault) -> None:
        end = round(len(body) * fault.cut_after)
        for at in range(0, end, fault.chunk):
            piece = body[at : min(at + fault.chunk, end)]
            self.wfile.write(piece)
            with self.site.lock:
                self.site.sent += len(piece)
            time.sleep(fault.chunk_pause_s)
        if fault.then:
            fault.then()
        if fault.reset:
            self._reset()
        if end < len(body) or fault.length_off_by or fault.no_length:
            self.close_connection = True

    def _reset(self) -> None:
        """Leave the connection without a farewell; what was sent may be lost."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True
