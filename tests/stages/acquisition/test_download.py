"""Downloads against a real server that misbehaves: every file arrives whole, or is reported."""

import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_server import FINE, Fault, Site, random_faults, serving

from stages.acquisition import download, registry, transfer
from stages.acquisition.digests import Memory
from stages.acquisition.download import Source
from stages.acquisition.registry import Entry
from stages.acquisition.retries import Manners
from stages.runtime.errors import UserError

HASTY = Manners(first_wait_s=0.001, longest_wait_s=0.05)


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entries(files: dict[str, bytes]) -> list[Entry]:
    return [Entry(name, len(data), sha256(data), "MADE") for name, data in files.items()]


def bring(site: Site, folder: Path, wanted: list[Entry] | None = None, manners: Manners = HASTY) -> dict[str, str]:
    wanted = entries(site.files) if wanted is None else wanted
    memory = Memory(folder.parent / "memory.json")
    return download.bring(wanted, folder, lambda entry: Source(f"{site.url}/{entry.name}"), memory, manners)


def there(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def site():
    with serving(Site({"a.zip": content(1, 90_000), "deep/b.csv": content(2, 300), "empty": b""})) as serving_site:
        yield serving_site


def test_files_arrive_whole_and_nothing_else_is_left(site, tmp_path):
    assert bring(site, tmp_path / "release") == {}
    assert there(tmp_path / "release") == site.files
    assert [path.name for path in (tmp_path / "release").rglob(".*")] == []


def test_a_second_run_asks_for_nothing(site, tmp_path):
    bring(site, tmp_path / "release")
    site.requests.clear()
    assert bring(site, tmp_path / "release") == {}
    assert site.requests == []


@pytest.mark.parametrize(
    ("size", "digest", "state"),
    [
        (None, "", "absent"),
        (3, "sha256:right", "current"),
        (4, "sha256:right", "stale"),
        (3, "sha256:wrong", "stale"),
    ],
)
def test_the_decision_needs_no_network(size, digest, state):
    assert download.decide(Entry("x", 3, "sha256:right", "MADE"), size, lambda: digest) == state
    if size is not None:
        assert download.decide(Entry("x", None, "", "MADE"), size, lambda: pytest.fail("read in vain")) == "current"


def test_after_a_cut_only_the_rest_is_fetched(site, tmp_path):
    site.fault = lambda request: Fault(cut_after=0.5) if request.number < 3 else FINE
    assert bring(site, tmp_path / "release") == {}
    assert there(tmp_path / "release") == site.files
    asked = [request.headers.get("Range") for request in site.requests if request.path == "a.zip"]
    assert asked[0] is None
    assert asked[1:] == ["bytes=45000-", "bytes=67500-", "bytes=78750-"]
    assert site.sent == sum(map(len, site.files.values()))


def test_a_file_that_changed_since_the_cut_is_not_glued(site, tmp_path):
    new = content(9, 90_000)

    def fault(request):
        if request.path == "a.zip" and request.number == 1:
            site.files["a.zip"] = new
        return Fault(cut_after=0.5) if request.number == 0 else FINE

    site.fault = fault
    open_entry = [Entry("a.zip", None, "", "MADE")]
    assert bring(site, tmp_path / "release", open_entry) == {}
    assert there(tmp_path / "release") == {"a.zip": new}


def test_a_server_that_ignores_ranges_and_gives_no_etag_is_read_from_the_start(site, tmp_path):
    site.fault = lambda request: Fault(cut_after=0.5, no_ranges=True, no_etag=True) if request.number < 2 else FINE
    assert bring(site, tmp_path / "release") == {}
    assert there(tmp_path / "release") == site.files


SENTENCES = {
    "wrong key": (Fault(status=401), "access denied (HTTP 401): key or login wrong, missing or expired"),
    "forbidden": (Fault(status=403), "access denied (HTTP 403): key or login wrong, missing or expired"),
    "gone": (Fault(status=404), "no such file on the server (HTTP 404)"),
    "busy": (Fault(status=503), "the server is busy or broken (HTTP 503)"),
    "login page": (
        Fault(status=200, headers={"Content-Type": "text/html; charset=utf-8"}, body=b"<p>who are you?"),
        "an HTML page came in place of the file: the address, key or login is wrong",
    ),
    "page without its type": (
        Fault(status=200, body=b"\n<!DOCTYPE html><title>404</title>"),
        "an HTML page came in place of the file: the address, key or login is wrong",
    ),
    "wrong bytes": (Fault(flip=True), "another content: expected sha256:"),
    "longer": (Fault(length_off_by=5), "another length: expected 90000 bytes, 90005 are offered"),
    "shorter": (Fault(length_off_by=-5), "another length: expected 90000 bytes, 89995 are offered"),
    "teapot": (Fault(status=418), "the server refuses (HTTP 418)"),
    "in a circle": (
        Fault(status=302, headers={"Location": "/a.zip"}),
        "leads nowhere: redirected too often, or to no http(s) address",
    ),
}


@pytest.mark.parametrize("what", SENTENCES)
def test_a_failure_is_told_in_one_sentence_and_the_other_files_arrive(site, tmp_path, what):
    fault, sentence = SENTENCES[what]
    wanted = [entry if entry.name == "a.zip" else replace(entry, size=None) for entry in entries(site.files)]
    site.fault = lambda request: (
        replace(fault, body=fault.body.ljust(90_000)) if request.path == "a.zip" and fault.status == 200 else
        fault if request.path == "a.zip" else FINE
    )  # fmt: skip
    failures = bring(site, tmp_path / "release", wanted)
    assert list(failures) == ["a.zip"]
    assert sentence in failures["a.zip"]
    assert set(there(tmp_path / "release")) == {"deep/b.csv", "empty"}


def test_final_answers_are_asked_for_once_and_passing_ones_again(site, tmp_path):
    site.fault = lambda request: Fault(status={"a.zip": 404, "deep/b.csv": 503}.get(request.path, 401))
    bring(site, tmp_path / "release")
    asked = [request.path for request in site.requests]
    assert (asked.count("a.zip"), asked.count("deep/b.csv"), asked.count("empty")) == (1, HASTY.tries, 1)


def test_retry_after_is_obeyed_up_to_a_bound(site, tmp_path):
    site.fault = lambda request: Fault(status=429, headers={"Retry-After": "9999"}) if request.number == 0 else FINE
    started = time.monotonic()
    assert bring(site, tmp_path / "release", manners=replace(HASTY, longest_wait_s=0.3)) == {}
    assert 0.3 <= time.monotonic() - started < 3
    later = "Fri, 01 Jan 2100 00:00:00 GMT"
    assert transfer._retry_after(later) > 1e9
    assert transfer._retry_after("Fri, 01 Jan 1999 00:00:00 GMT") == 0
    assert transfer._retry_after("soon") is None


def test_an_unreachable_host_is_one_sentence(tmp_path):
    wanted = [Entry("x", 1, "", "MADE")]
    source = Source("http://127.0.0.1:9/x?key=secret")
    failures = download.bring(wanted, tmp_path / "release", lambda _: source, Memory(tmp_path / "memory.json"), HASTY)
    assert failures == {"x": "no connection to http://127.0.0.1:9/x"}


def test_a_throttled_file_arrives_and_one_without_an_answer_is_given_up(site, tmp_path, monkeypatch):
    site.fault = lambda request: Fault(chunk_pause_s=0.01, chunk=8192)
    assert bring(site, tmp_path / "release") == {}
    monkeypatch.setattr(transfer, "STALL_S", 0.1)
    site.fault = lambda request: Fault(answer_after_s=0.5)
    failures = bring(site, tmp_path / "other", entries(site.files)[:1], replace(HASTY, tries=1))
    assert failures == {"a.zip": f"no answer in time from {site.url}/a.zip"}


def test_several_files_come_at_once_but_one_host_gets_no_more_than_allowed(tmp_path):
    files = {f"{k}": content(k, 4000) for k in range(12)}
    with serving(Site(files, lambda request: Fault(chunk=1000, chunk_pause_s=0.01))) as site:
        assert bring(site, tmp_path / "release", manners=replace(HASTY, at_once=8, per_host=3)) == {}
        assert site.most_at_once == 3


def test_what_the_owner_does_not_publish_is_recorded_and_checked_from_then_on(site, tmp_path):
    open_entries = [replace(entry, size=None, digest="") for entry in entries(site.files)]
    assert bring(site, tmp_path / "release", open_entries) == {}
    assert registry.read(tmp_path / "release" / download.RECORDED) == sorted(entries(site.files), key=lambda e: e.name)
    (tmp_path / "release" / "a.zip").unlink()
    site.files["a.zip"] = content(7, 90_000)
    failures = bring(site, tmp_path / "release", open_entries)
    assert failures["a.zip"].startswith("another content: expected sha256:")
    assert "a.zip" not in there(tmp_path / "release")


def test_a_damaged_file_is_replaced(site, tmp_path):
    bring(site, tmp_path / "release")
    (tmp_path / "release" / "a.zip").write_bytes(content(3, 90_000))
    assert bring(site, tmp_path / "release") == {}
    assert there(tmp_path / "release") == site.files


def test_too_little_room_is_told_before_anything_is_fetched(site, tmp_path):
    wanted = [Entry("a.zip", 10**18, "", "MADE")]
    with pytest.raises(UserError, match=r"has room for .* GB, but 1000000000\.0 GB are missing"):
        bring(site, tmp_path / "release", wanted)
    assert site.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_ends_the_run(site, tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / ".a.zip.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        bring(site, tmp_path / "release")


def test_neither_key_nor_login_show_in_logs_records_or_reasons(site, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    site.fault = lambda request: Fault(status=401) if request.path == "a.zip" else FINE
    failures = download.bring(
        entries(site.files),
        tmp_path / "release",
        lambda entry: Source(f"{site.url}/get?key=k3y&file={entry.name}", ("user", "pa55")),
        Memory(tmp_path / "memory.json"),
        HASTY,
    )
    assert site.requests[0].query["key"] == ["k3y"]
    assert site.requests[0].headers["Authorization"].startswith("Basic ")
    written = "".join(path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert not {secret for secret in ("k3y", "pa55", "Basic") if secret in caplog.text + str(failures) + written}


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import test_download
from faulty_server import Site
test_download.bring(Site({"big": test_download.content(5, 2_000_000)}, url=sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_run_keeps_what_has_arrived(tmp_path):
    data = content(5, 2_000_000)
    with serving(Site({"big": data}, lambda request: Fault(chunk=20_000, chunk_pause_s=0.01))) as site:
        here = Path(__file__).parent
        command = [sys.executable, "-c", KILLED, site.url, str(tmp_path / "release"), str(here), str(here.parent)]
        process = subprocess.Popen(command)
        partial = tmp_path / "release" / ".big.partial"
        while not (partial.exists() and partial.stat().st_size > 200_000):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = partial.stat().st_size
        assert not (tmp_path / "release" / "big").exists()
        site.fault = lambda request: FINE
        assert bring(site, tmp_path / "release") == {}
        assert site.requests[-1].headers["Range"] == f"bytes={kept}-"
        assert there(tmp_path / "release") == {"big": data}


def test_with_one_connection_in_five_cut_few_bytes_are_fetched_twice(tmp_path):
    files = {f"part{k}": content(k, 100_000) for k in range(40)}

    def fault(request):
        draw = random.Random(f"{request.path} {request.number}")
        return Fault(cut_after=draw.random()) if draw.random() < 0.2 else FINE

    with serving(Site(files, fault)) as site:
        assert bring(site, tmp_path / "release") == {}
        assert there(tmp_path / "release") == files
        assert len(site.requests) > 1.1 * len(files)
        assert site.sent <= 1.2 * sum(map(len, files.values()))


@pytest.mark.slow
def test_in_200_runs_of_random_faults_every_file_arrives_whole_or_is_reported(tmp_path):
    files = {f"{k}": content(k, 40 * k) for k in range(6)}
    outcomes: list[bool] = []
    with serving(Site(files)) as site:
        for seed in range(200):
            site.requests.clear()
            site.fault = random_faults(seed)
            failures = bring(site, tmp_path / str(seed))
            whole = there(tmp_path / str(seed))
            assert whole == {name: data for name, data in files.items() if name not in failures}
            outcomes += [name in failures for name in files]
    assert 0 < sum(outcomes) < len(outcomes) / 2
