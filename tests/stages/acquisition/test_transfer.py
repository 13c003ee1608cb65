"""Answers of hostile servers: each ends soon, in little memory, and in a sentence."""

import gzip
import itertools
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hostile_server import answering, mutated

from stages.acquisition import remote_zip, transfer
from stages.acquisition.download import Source
from stages.acquisition.responses import TransferError
from stages.acquisition.retries import RetryPolicy
from stages.acquisition.transfer import Expected
from stages.runtime import limits
from stages.runtime.errors import UserError
from stages.runtime.limits import Limits

MIB = bytes(2**20)
DIGITS = b"9" * 5000


def endless(head: bytes):
    yield head
    yield from itertools.repeat(MIB)


def drip(request: bytes):
    yield b"HTTP/1.1 200 OK\r\n"
    for number in itertools.count():
        time.sleep(0.02)
        yield b"X-%d: y\r\n" % number


def peak_bytes(work) -> int:
    tracemalloc.start()
    try:
        work()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def read_4(url: str) -> tuple[bytes, int]:
    with transfer.client() as client:
        return transfer.read_range(client, url, 0, 4)


RANGE = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/1000\r\n"
FOUR_BYTES = {
    "a gigabyte": (RANGE + b"Content-Length: 1000000000\r\n\r\n", "more than the requested 4 bytes arrive"),
    "endless": (RANGE + b"\r\n", "more than the requested 4 bytes arrive"),
    "endless chunks": (
        RANGE + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n",
        "more than the requested 4 bytes arrive",
    ),
    "the whole file": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "does not support range requests"),
    "a redirect with an endless page": (
        b"HTTP/1.1 302 Found\r\nLocation: /file\r\n\r\n",
        "redirects too often",
    ),
    "a number of 5,000 digits": (
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-3/" + DIGITS + b"\r\n\r\n",
        "does not support range requests",
    ),
    "a start of 5,000 digits": (
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes " + DIGITS + b"-3/4\r\n\r\n",
        "does not support range requests",
    ),
    "a header without an end": (b"HTTP/1.1 206 OK\r\nX-Key: ", "was cut off"),
    "headers without an end": (b"HTTP/1.1 206 OK\r\n" + b"X-Key: y\r\n" * 20_000, "was cut off"),
    "a wait of 5,000 digits": (b"HTTP/1.1 503 OK\r\nRetry-After: " + DIGITS + b"\r\n\r\n", "busy or broken"),
}


@pytest.mark.parametrize("what", FOUR_BYTES)
def test_an_answer_larger_than_what_was_asked_is_not_read(what):
    head, reason = FOUR_BYTES[what]

    def ask() -> None:
        with answering(lambda request: endless(head)) as url, pytest.raises(TransferError, match=reason):
            read_4(url)

    started = time.monotonic()
    assert peak_bytes(ask) < 10 * len(MIB)
    assert time.monotonic() - started < 5


def test_a_compressed_answer_is_not_expanded(tmp_path):
    bomb = gzip.compress(bytes(2**24))
    head = RANGE.replace(b"206 Partial Content", b"%d OK") + b"Content-Encoding: gzip\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(bomb)
    with (
        answering(lambda request: [head % 206 + length + bomb]) as url,
        pytest.raises(TransferError, match="compresses the file"),
    ):
        read_4(url)
    with answering(lambda request: [head % 200 + length + bomb]) as url, transfer.client() as client:
        with pytest.raises(TransferError, match="compresses the file, although it was asked not to"):
            transfer.attempt(client, url, tmp_path / "x", Expected(end_checked=True))
        transfer.attempt(client, url, tmp_path / "x", Expected(compressed=True))
    assert (tmp_path / "x").read_bytes() == bomb


ENDLESS = {
    "announced": (b"Content-Length: 5000000\r\n", "too large: 5000000 bytes, expected at most 1048576; if"),
    "chunked": (
        b"Transfer-Encoding: chunked\r\n",
        "too large: more than 1048576 bytes arrive; if the owner's file is as",
    ),
    "without a length": (b"", "nobody tells how long the file is, so it may be cut off"),
}


@pytest.mark.parametrize("how", ENDLESS)
def test_a_file_of_unknown_size_is_limited(how, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_now", Limits(download_gib=2**-10))
    head, reason = ENDLESS[how]

    def answer(request: bytes):
        yield b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"
        yield from itertools.repeat(b"FFFF\r\n" + bytes(0xFFFF) + b"\r\n" if how == "chunked" else MIB)

    with (
        answering(answer) as url,
        transfer.client() as client,
        pytest.raises(TransferError, match=reason),
    ):
        transfer.attempt(client, url, tmp_path / "x", Expected())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [b"Content-Length: 3000000\r\n", b""])
def test_a_file_larger_than_the_disk_is_refused_and_leaves_no_part(length, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_free_bytes", lambda _: 2_000_000)
    endless_or_not = [b"HTTP/1.1 200 OK\r\n" + length + b"\r\n", *[MIB] * 3]
    with (
        answering(lambda request: endless_or_not) as url,
        transfer.client() as client,
        pytest.raises(TransferError, match=r"of which the disk has room for 2000000|2000000 bytes arrive, which fill"),
    ):
        transfer.attempt(client, url, tmp_path / "x", Expected(end_checked=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("expected", [Expected(size=4), Expected(digest_known=True), Expected(end_checked=True)])
def test_a_file_without_a_length_is_taken_if_its_end_can_be_told(expected, tmp_path):
    with answering(lambda request: [b"HTTP/1.1 200 OK\r\n\r\nabcd"]) as url, transfer.client() as client:
        transfer.attempt(client, url, tmp_path / "x", expected)
    assert (tmp_path / "x").read_bytes() == b"abcd"


@pytest.mark.parametrize("limit", ["headers", "body"])
def test_headers_and_bodies_that_drip_end_in_time(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_now", Limits(answer_s=0.3))
    monkeypatch.setattr(transfer, "PACE_S", 0.3)
    body = [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 5000]
    answer = drip if limit == "headers" else lambda request: (time.sleep(0.02) or piece for piece in body)
    started = time.monotonic()
    with (
        answering(answer) as url,
        transfer.client() as client,
        pytest.raises(TransferError, match=r"no response in time|too slow: \d+ bytes in"),
    ):
        transfer.attempt(client, url, tmp_path / "x", Expected(end_checked=True))
    assert time.monotonic() - started < 5


def test_a_handshake_that_drips_ends_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_now", Limits(answer_s=0.3))
    record = itertools.chain([b"\x16\x03\x03\x40\x00"], itertools.repeat(b"x", 5000))  # of 16,384 bytes
    started = time.monotonic()
    with (
        answering(lambda request: (time.sleep(0.02) or piece for piece in record)) as url,
        transfer.client() as client,
        pytest.raises(TransferError, match=r"no response in time|no connection"),
    ):
        transfer.attempt(client, url.replace("http:", "https:"), tmp_path / "x", Expected(end_checked=True))
    assert time.monotonic() - started < 5


def test_a_part_of_a_file_without_a_request_for_it_is_not_taken(tmp_path):
    (tmp_path / "x").write_bytes(b"of another file")
    partly = b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4\r\n\r\nabcd"
    with (
        answering(lambda request: [partly]) as url,
        transfer.client() as client,
        pytest.raises(TransferError, match="changed on the server"),
    ):
        transfer.attempt(client, url, tmp_path / "x", Expected(end_checked=True))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("size", [0, 5])
def test_an_empty_or_tiny_archive_on_a_server_is_a_sentence(size, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_zip, "POLICY", RetryPolicy(attempts=1))

    def answer(request: bytes):
        if size:
            yield b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-%d/%d\r\n" % (size - 1, size)
        else:
            yield b"HTTP/1.1 416 OK\r\nContent-Range: bytes */0\r\n"
        yield b"Content-Length: %d\r\n\r\n" % (1 if b"bytes=0-0" in request and size else size) + b"x" * size

    with (
        answering(answer) as url,
        pytest.raises((UserError, TransferError), match=r"not a whole ZIP|empty on the server"),
    ):
        remote_zip.download_identities([Source(url)], ["id1"], tmp_path)


def test_no_mutated_answer_ends_in_another_error(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(limits, "_now", Limits(stall_s=0.2))
    draw = random.Random(11)
    answers = [
        b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\nETag: "a"\r\n\r\n<!-- --><',
        RANGE + b"Content-Length: 4\r\nLast-Modified: Fri, 01 Jan 1999 00:00:00 GMT\r\n\r\nabcd",
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/x?y=%20\r\nSet-Cookie: a=b; Max-Age=9\r\n\r\n",
        b"HTTP/1.1 429 Busy\r\nRetry-After: Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    ]
    failed = 0
    with answering(lambda request: [mutated(draw.choice(answers), draw)]) as url, transfer.client() as client:
        for _ in range(150):
            try:
                transfer.attempt(client, url, tmp_path / "x", Expected(max_bytes=1000))
                transfer.read_range(client, url, 0, 4)
            except TransferError:
                failed += 1
    assert failed > 50
