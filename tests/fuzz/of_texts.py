"""What people and servers send as text: lists, registries, addresses, answers and parameters."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpcore
import httpx
import odd_archives
import odd_texts
import seeds
from target import Read, Target, put, rejectable

from pipelines.own import listed, stills
from pipelines.results import rows
from stages.acquisition import answers, connections, hosts, registry, remote_zip, transfer
from stages.acquisition.connections import Network
from stages.acquisition.digests import DigestCache
from stages.acquisition.download import Source
from stages.acquisition.partials import Partial
from stages.acquisition.responses import TransferError
from stages.acquisition.transfer import Expected
from stages.releases import readers
from stages.runtime import config
from stages.runtime.errors import UserError


class _Answering(httpcore.NetworkBackend):
    """Every connection gives the same bytes, or what `answer` makes of a request; nothing leaves the process."""

    def __init__(self) -> None:
        self.answer: Callable[[bytes], bytes] = lambda request: b""

    def connect_tcp(self, *args: Any, **settings: Any) -> httpcore.NetworkStream:
        return _Stream(self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, backend: _Answering) -> None:
        self._backend, self._request, self._left = backend, b"", b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._request += buffer
        if self._request.endswith(b"\r\n\r\n"):
            self._left, self._request = self._left + self._backend.answer(self._request), b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data, self._left = self._left[:max_bytes], self._left[max_bytes:]
        return data

    def close(self) -> None:
        self._left = b""


@cache
def _client() -> tuple[httpx.Client, _Answering]:
    backend = _Answering()
    return transfer.client(network=Network(lambda host, port: ["192.0.2.1"], backend)), backend


def _close_connections(client: httpx.Client) -> None:
    client._transport.close()  # the next input gets a connection of its own


def answer(data: bytes, folder: Path) -> None:
    client, backend = _client()
    backend.answer = lambda request: data
    path = put(folder, b"", "partial")
    for expected in (Expected(max_bytes=10**6), Expected(size=88, digest_known=True)):
        _refusable(lambda expected=expected: transfer.attempt(client, "http://a.example/list.csv", path, expected))
        _close_connections(client)
    _refusable(lambda: transfer.read_range(client, "http://a.example/part", 4, 4))
    _close_connections(client)


def _refusable(work: Callable[[], object]) -> None:
    try:
        work()
    except TransferError as error:
        str(error).encode()


def remote(data: bytes, folder: Path) -> None:
    """An archive on a server, which gives ranges of it."""
    client, backend = _client()
    backend.answer = lambda request: _range(request, data)
    kept, transfer.client = transfer.client, lambda: _Kept(client)  # type: ignore[assignment,return-value]
    try:
        shutil.rmtree(folder / "out", ignore_errors=True)
        remote_zip.download_identities([Source("http://a.example/part")], ["id00012"], folder / "out")
    finally:
        transfer.client = kept
        _close_connections(client)


class _Kept:
    """A client that stays open."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __enter__(self) -> httpx.Client:
        return self._client

    def __exit__(self, *error: object) -> None:
        """Keep it."""


def _range(request: bytes, data: bytes) -> bytes:
    first, last = map(int, request.partition(b"Range: bytes=")[2].split(b"\r\n")[0].split(b"-"))
    part = data[first : last + 1]
    if not part:
        return b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n"
    head = f"HTTP/1.1 206 Part\r\nContent-Range: bytes {first}-{first + len(part) - 1}/{len(data)}\r\n"
    return f"{head}Content-Length: {len(part)}\r\n\r\n".encode() + part


def page(data: bytes, folder: Path) -> None:
    answers.is_page(data)
    for name in ("a.csv", "a.json", "a.html", "a.zip", "a_partaa", "a"):
        answers.complaint(name, data[: answers.HEAD_BYTES], len(data))


def address(data: bytes, folder: Path) -> None:
    url = data.decode("utf-8", "surrogateescape")
    host, _ = hosts.server_of(url)
    hosts.without_secrets(url)
    hosts.server(url)
    connections.is_public(host)
    hosts.find("VGG", {"FABNET_VGG_URL": url})


def notes(data: bytes, folder: Path) -> None:
    """What a run leaves for the next one."""
    put(folder, data, "a.note")
    Partial(put(folder, b"x", "a"), digest_known=True).request_headers()
    DigestCache(put(folder, data, "digests.json")).has("a.jpg", folder / "a")


def text(data: bytes, folder: Path) -> None:
    lines = readers.text_lines(put(folder, data, "list.txt"))
    for line in lines[:50]:
        separator = readers.separator(line, ",", lambda row: len(row) > 2)
        for cell in readers.cells(line, separator):
            readers.number(cell)
            rejectable(lambda cell=cell: readers.safe_path(cell))


def own_list(name: str) -> Read:
    return lambda data, folder: [listed.shown(path) for path in listed.files(put(folder, data, name), stills.SUFFIXES)]


def reference_rows(data: bytes, folder: Path) -> None:
    list(rows.read(put(folder, data, "rows.csv")))


def parameters(data: bytes, folder: Path) -> None:
    config.check(put(folder, data, "params.yaml"))


TARGETS = (
    Target(
        "text",
        lambda: [*seeds.meta_tables(), *seeds.celeba_points()],
        text,
        lambda: odd_texts.tables_of(["file", "x"]),
        250,
    ),
    Target("address", seeds.urls, address, odd_texts.addresses, 1300),
    Target("notes", seeds.notes, notes, odd_texts.documents, 600, is_guided=True),
    Target(
        "registry",
        seeds.registries,
        lambda data, folder: registry.read(put(folder, data, "r.txt")),
        odd_texts.registries,
        1200,
        is_guided=True,
    ),
    Target("page", seeds.pages, page, None, 1700),
    Target("answer", seeds.answers, answer, odd_texts.answers, 80, is_guided=True),
    Target(
        "remote zip",
        seeds.zips,
        remote,
        lambda: odd_archives.archives([*seeds.MEMBERS, *seeds.CLIPS]),
        50,
        allowed=(UserError, TransferError),
        is_guided=True,
    ),
    Target("own list .csv", seeds.meta_tables, own_list("list.csv"), lambda: odd_texts.tables_of(["file", "x"]), 250),
    Target("own list .txt", seeds.meta_tables, own_list("list.txt"), lambda: odd_texts.tables_of(["a.jpg"]), 250),
    Target("reference rows", seeds.reference_rows, reference_rows, lambda: odd_texts.tables_of(rows.COLUMNS), 100),
    Target("parameters", seeds.parameters, parameters, odd_texts.parameters, 12),
)
