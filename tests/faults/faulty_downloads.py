"""Downloads from a server whose faults are drawn from a seed, killed and taken up again; what comes of each.

A file may be published with its size and digest, with one of them, or with neither, or be an image that is listed by
its URL. The owner may put another version in its place at any request. Faults that nobody could notice are left out:
of a file about which nothing is published, other bytes, a length that is too short, and one page for another.
"""

import gzip
import hashlib
import multiprocessing
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faulty_server import FINE, Fault, Request, Site
from media_samples import encoded, noise

from stages.acquisition import download, listed_images, registry, transfer
from stages.acquisition.digests import DigestCache
from stages.acquisition.download import Source
from stages.acquisition.listed_images import ListedImage
from stages.acquisition.registry import Entry
from stages.acquisition.retries import RetryPolicy

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["faulty_downloads"])
IMPATIENT = RetryPolicy(attempts=3, first_wait_s=0.001, max_wait_s=0.01)
LIMIT_S = 60
RUNS = 4  # of each download at most; in the last one nothing goes wrong
SIZE, DIGEST, IMAGE = "size", "digest", "image"

Draw = random.Random
TEXTS = (b"Your key has expired.\n", b'{"error": "expired"}', b"", b"<?xml version='1.0'?><Error/>")
PAGES = (b"<html>log in</html>", b"\n<!-- a -->\n<!DOCTYPE html><title>404</title>")
ANYWHERE: dict[str, Callable[[Draw], Fault]] = {  # that can be told of any file
    "cut": lambda draw: Fault(cut_after=draw.random()),
    "reset": lambda draw: Fault(cut_after=draw.random(), reset=True),
    "longer": lambda draw: Fault(length_off_by=draw.randint(1, 99)),
    "busy": lambda draw: Fault(status=draw.choice((408, 425, 500, 502, 503, 504))),
    "told to wait": lambda draw: Fault(status=429, headers={"Retry-After": draw.choice(("0", "x", "-1"))}),
    "refused": lambda draw: Fault(status=draw.choice((401, 403, 404, 410, 418, 204, 416))),
    "no ranges": lambda draw: Fault(no_ranges=True, cut_after=draw.random()),
    "no length": lambda draw: Fault(no_length=True, cut_after=draw.random()),
    "no ETag": lambda draw: Fault(no_etag=True, cut_after=draw.random()),
    "weak ETag": lambda draw: Fault(no_etag=True, headers={"ETag": 'W/"1"'}, cut_after=draw.random()),
    "page": lambda draw: Fault(status=200, headers={"Content-Type": "text/html"}, body=draw.choice(PAGES)),
    "page of no type": lambda draw: Fault(status=200, body=draw.choice(PAGES)),
    "text": lambda draw: Fault(status=200, body=draw.choice(TEXTS)),
    "drip": lambda draw: Fault(chunk=2000, chunk_pause_s=0.002, cut_after=draw.random()),
    "part unasked": lambda draw: Fault(partly=True),
    "start of another part": lambda draw: Fault(range_off_by=(draw.choice((-3, 3)), 0), cut_after=draw.random()),
    "length of another file": lambda draw: Fault(range_off_by=(0, draw.choice((-9, 9))), cut_after=draw.random()),
    "rest of another version": lambda draw: Fault(any_state=True, cut_after=draw.random()),
    "sent in a circle": lambda draw: Fault(status=302, headers={"Location": "/{name}"}),
    "sent to no server": lambda draw: Fault(
        status=301, headers={"Location": draw.choice(("ftp://x/y", "http://", ""))}
    ),
    "sent to the file": lambda draw: Fault(status=draw.choice((301, 302, 307)), headers={"Location": "/x?file={name}"}),
}
ONLY_WITH: dict[str, dict[str, Callable[[Draw], Fault]]] = {
    SIZE: {"shorter": lambda draw: Fault(length_off_by=-draw.randint(1, 99))},
    DIGEST: {
        "shorter": lambda draw: Fault(length_off_by=-draw.randint(1, 99)),
        "another byte": lambda draw: Fault(flip=True),
        "another byte, cut": lambda draw: Fault(flip=True, cut_after=draw.random()),
        "called packed": lambda draw: Fault(headers={"Content-Encoding": "gzip"}),
    },
    IMAGE: {
        "shorter": lambda draw: Fault(length_off_by=-draw.randint(1, 99)),
        "sent to a private address": lambda draw: Fault(
            status=302, headers={"Location": "http://127.0.0.2:9/x?file={name}"}
        ),
    },
}


@dataclass
class Outcome:
    """What came of one download."""

    finished: bool
    wrong: str  # what is on the disk that should not be there; empty if all is right
    faults: Counter[str] = field(default_factory=Counter[str])


@dataclass
class _Server:
    """The faults of one download, by the seed; it may change the file, and end the process that asks."""

    draw: Draw
    site: Site
    name: str
    versions: list[bytes]
    faults: dict[str, Callable[[Draw], Fault]]
    share: float  # of faulty answers
    no_etags: bool  # whether it never tells one state of a file from another
    kill: Callable[[], None] | None = None
    told: Counter[str] = field(default_factory=Counter[str])

    def answer(self, _: Request) -> Fault:
        if self.share and len(self.versions) > 1 and self.draw.random() < 0.3:
            self.told["changed"] += self.site.files[self.name] != self.versions[1]
            self.site.files[self.name] = self.versions[1]
        if self.draw.random() >= self.share:
            return replace(FINE, no_etag=self.no_etags)
        kind = self.draw.choice(sorted(self.faults))
        self.told[kind] += 1
        fault = self.faults[kind](self.draw)
        headers = {key: value.format(name=self.name) for key, value in fault.headers.items()}
        fault = replace(fault, headers=headers, no_etag=self.no_etags or fault.no_etag)
        if self.kill and self.draw.random() < 0.4:
            self.told["killed while it receives"] += 1
            return replace(fault, then=self.kill)
        return fault


def outcome(seed: int, site: Site, folder: Path) -> Outcome:
    """Download one file in up to RUNS runs; `folder` is new."""
    draw = Draw(seed)
    known = draw.choice(([], [], [SIZE], [DIGEST], [SIZE, DIGEST], [SIZE, DIGEST], [IMAGE]))
    name, versions = _published(draw, seed, known)
    entry = _entry(name, draw.choice(versions), known)
    site.requests.clear()
    site.files.clear()
    site.files[name] = versions[0]
    faults = ANYWHERE | {kind: fault for what in known for kind, fault in ONLY_WITH[what].items()}
    server = _Server(draw, site, name, versions, faults, draw.choice((0.5, 0.8, 0.95)), draw.random() < 0.4)
    site.fault = server.answer
    target, allowed = folder / "release" / name, [version for version in versions if _fits(entry, version)]
    for run in range(RUNS):
        was_there = target.exists()
        if run == RUNS - 1:
            server.share = 0.0
        _run(site, entry, folder, server, killed=run < RUNS - 1 and draw.random() < 0.25)
        if was_there or (target.exists() and target.read_bytes() not in allowed):
            break
    wrong = _wrong(entry, target, allowed, site.files[name])
    told = f"seed {seed}, published {known}, {dict(server.told)}: {wrong}" if wrong else ""
    return Outcome(target.exists(), told, server.told)


def _run(site: Site, entry: Entry, folder: Path, server: "_Server", *, killed: bool) -> None:
    if killed:
        _run_and_kill(site, entry, folder, server)
    else:
        get(site.url, entry, folder)


def _wrong(entry: Entry, target: Path, allowed: list[bytes], served: bytes) -> str:
    """What is wrong after the last run, in which the server had no faults; empty if nothing is."""
    if not target.exists():
        is_asked_again = entry.host != IMAGE  # an image that was refused for good is not
        return "a server without faults is not believed" if is_asked_again and served in allowed else ""
    if target.read_bytes() not in allowed:
        return f"{target.stat().st_size} bytes that nobody published"
    if left := sorted(path.name for path in target.parent.rglob(".*") if path.name != download.RECORDED):
        return f"{left} is left beside the finished file"
    return "" if entry.host == IMAGE or _is_recorded(entry, target.parent) else "its size and digest are not recorded"


def get(url: str, entry: Entry, folder: Path) -> None:
    """Run the download once; failures are told in the log."""
    release = folder / "release"
    if entry.host != IMAGE:
        cache = DigestCache(folder / "cache.json")
        download.download([entry], release, lambda wanted: Source(f"{url}/{wanted.name}"), cache, IMPATIENT)
        return
    port = int(url.rpartition(":")[2])
    images = [ListedImage(entry.name, (f"{url}/{entry.name}",))]
    with transfer.client({("127.0.0.1", port)}) as client:
        expected = listed_images.expected()
        into = release, folder / "dead.jsonl"
        list(listed_images.download(client, images, *into, policy=IMPATIENT, expected=expected))


def _is_recorded(entry: Entry, release: Path) -> bool:
    """Whether what the registry leaves open about the finished file is recorded."""
    if entry.size is not None and entry.digest:
        return True
    data = (release / entry.name).read_bytes()
    return replace(entry, size=len(data), digest=entry.digest or sha256(data)) in registry.read(
        release / download.RECORDED
    )


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _entry(name: str, data: bytes, known: list[str]) -> Entry:
    size, digest = len(data) if SIZE in known else None, sha256(data) if DIGEST in known else ""
    return Entry(name, size, digest, IMAGE if IMAGE in known else "MADE")


def _fits(entry: Entry, version: bytes) -> bool:
    return entry.size in (None, len(version)) and entry.digest in ("", sha256(version))


def _published(draw: Draw, seed: int, known: list[str]) -> tuple[str, list[bytes]]:
    """Name and versions of a file; most second versions are as long as the first."""
    count = draw.choice((1, 2, 2))
    if IMAGE in known:
        return f"{seed}.jpg", [encoded(noise(40, 30 + k, seed=seed + k)) for k in range(count)]
    names = ["{}.zip", "{}.csv", "{}.txt.gz", "vox_{}_partaa", "{}.mat"]
    name = draw.choice([*names, "{}.html"] if known else names)
    size = draw.choice((200, 700, 9_000, 70_000))  # no answer in place of a file is as long
    bodies = [draw.randbytes(size + draw.choice((0, 0, 1)) * k) for k in range(count)]
    if name.endswith(".csv"):
        bodies = [b"id,set\n" + body.hex().encode() + b",dev\n" for body in bodies]
    elif name.endswith(".gz"):
        bodies = [gzip.compress(body, mtime=0) for body in bodies]
    elif name.endswith(".html"):
        bodies = [b"<html>" + body.hex().encode() + b"</html>" for body in bodies]
    else:
        bodies = [b"PK\3\4" + body for body in bodies]
    return name.format(seed), bodies


def _run_and_kill(site: Site, entry: Entry, folder: Path, server: _Server) -> None:
    """Run the download in a process of its own, which ends at a file operation, while it receives, or by itself."""
    at = server.draw.choice((0, server.draw.randint(1, 16)))
    path = os.environ.get("PYTHONPATH", "")
    process = CONTEXT.Process(target=_child, args=(site.url, entry, folder, at))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # where the fork server finds this module
    try:
        process.start()
    finally:
        os.environ["PYTHONPATH"] = path
    server.kill = None if at else process.kill
    process.join(LIMIT_S)
    server.kill = None
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"{entry.name} hangs")
    assert process.exitcode in (0, -signal.SIGKILL), f"{entry.name} ends with {process.exitcode}"
    if at and process.exitcode:
        server.told["killed at a file operation"] += 1


def _child(url: str, entry: Entry, folder: Path, at: int) -> None:
    operations = 0

    def count(event: str, arguments: Any) -> None:
        nonlocal operations
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(str(folder)):
            operations += 1
            if operations == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    get(url, entry, folder)
