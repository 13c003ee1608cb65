"""Downloads from a real, faulty server: every file arrives whole, or is reported."""

import hashlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_server import FINE, Fault, Site, serving

from stages.acquisition import download, registry, responses
from stages.acquisition.digests import DigestCache
from stages.acquisition.download import Source
from stages.acquisition.registry import Entry
from stages.acquisition.retries import RetryPolicy
from stages.runtime import limits
from stages.runtime.errors import UserError
from stages.runtime.limits import Limits

IMPATIENT = RetryPolicy(first_wait_s=0.001, max_wait_s=0.05)


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entries(files: dict[str, bytes]) -> list[Entry]:
    return [Entry(name, len(data), sha256(data), "MADE") for name, data in files.items()]


def download_all(
    site: Site, folder: Path, wanted: list[Entry] | None = None, policy: RetryPolicy = IMPATIENT
) -> dict[str, str]:
    wanted = entries(site.files) if wanted is None else wanted
    cache = DigestCache(folder.parent / "cache.json")
    return download.download(wanted, folder, lambda entry: Source(f"{site.url}/{entry.name}"), cache, policy)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def site():
    with serving(Site({"a.zip": content(1, 90_000), "deep/b.csv": content(2, 300), "empty": b""})) as serving_site:
        yield serving_site


def test_files_arrive_whole_and_no_partial_file_is_left(site, tmp_path):
    assert download_all(site, tmp_path / "release") == {}
    assert files_in(tmp_path / "release") == site.files
    assert [path.name for path in (tmp_path / "release").rglob(".*")] == []


def test_second_run_makes_no_request(site, tmp_path):
    download_all(site, tmp_path / "release")
    site.requests.clear()
    assert download_all(site, tmp_path / "release") == {}
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
def test_state_of_a_file_is_decided_without_a_network(size, digest, state):
    assert download.decide(Entry("x", 3, "sha256:right", "MADE"), size, lambda: digest) == state
    if size is not None:
        assert download.decide(Entry("x", None, "", "MADE"), size, lambda: pytest.fail("read in vain")) == "current"


def test_only_the_rest_is_requested_after_a_cut(site, tmp_path):
    site.fault = lambda request: Fault(cut_after=0.5) if request.number < 3 else FINE
    assert download_all(site, tmp_path / "release") == {}
    assert files_in(tmp_path / "release") == site.files
    requested = [request.headers.get("Range") for request in site.requests if request.path == "a.zip"]
    assert requested[0] is None
    assert requested[1:] == ["bytes=45000-", "bytes=67500-", "bytes=78750-"]
    assert site.sent == sum(map(len, site.files.values()))


def test_file_that_changed_since_the_cut_starts_over(site, tmp_path):
    new = content(9, 90_000)

    def fault(request):
        if request.path == "a.zip" and request.number == 1:
            site.files["a.zip"] = new
        return Fault(cut_after=0.5) if request.number == 0 else FINE

    site.fault = fault
    open_entry = [Entry("a.zip", None, "", "MADE")]
    assert download_all(site, tmp_path / "release", open_entry) == {}
    assert files_in(tmp_path / "release") == {"a.zip": new}


def test_server_without_ranges_and_etags_is_read_from_the_start(site, tmp_path):
    site.fault = lambda request: Fault(cut_after=0.5, no_ranges=True, no_etag=True) if request.number < 2 else FINE
    assert download_all(site, tmp_path / "release") == {}
    assert files_in(tmp_path / "release") == site.files


REASONS = {
    "wrong key": (Fault(status=401), "access denied (HTTP 401): key or login wrong, missing or expired"),
    "forbidden": (Fault(status=403), "access denied (HTTP 403): key or login wrong, missing or expired"),
    "gone": (Fault(status=404), "no such file on the server (HTTP 404)"),
    "busy": (Fault(status=503), "the server is busy or broken (HTTP 503)"),
    "login page": (
        Fault(status=200, headers={"Content-Type": "text/html; charset=utf-8"}, body=b"<p>who are you?"),
        "an HTML page instead of the file: the URL, key or login is wrong",
    ),
    "page without its type": (
        Fault(status=200, body=b"\n<!DOCTYPE html><title>404</title>"),
        "an HTML page instead of the file: the URL, key or login is wrong",
    ),
    "wrong bytes": (Fault(flip=True), "wrong content: expected sha256:"),
    "longer": (Fault(length_off_by=5), "wrong length: expected 90000 bytes, the server has 90005"),
    "shorter": (Fault(length_off_by=-5), "wrong length: expected 90000 bytes, the server has 89995"),
    "teapot": (Fault(status=418), "the server refuses (HTTP 418)"),
    "in a circle": (
        Fault(status=302, headers={"Location": "/a.zip"}),
        "redirects too often, or to a URL that is not http(s)",
    ),
}


@pytest.mark.parametrize("what", REASONS)
def test_failure_is_reported_with_its_reason_and_the_other_files_arrive(site, tmp_path, what):
    fault, reason = REASONS[what]
    wanted = [entry if entry.name == "a.zip" else replace(entry, size=None) for entry in entries(site.files)]
    site.fault = lambda request: (
        replace(fault, body=fault.body.ljust(90_000)) if request.path == "a.zip" and fault.status == 200 else
        fault if request.path == "a.zip" else FINE
    )  # fmt: skip
    failures = download_all(site, tmp_path / "release", wanted)
    assert list(failures) == ["a.zip"]
    assert reason in failures["a.zip"]
    assert set(files_in(tmp_path / "release")) == {"deep/b.csv", "empty"}


def test_only_temporary_failures_are_retried(site, tmp_path):
    site.fault = lambda request: Fault(status={"a.zip": 404, "deep/b.csv": 503}.get(request.path, 401))
    download_all(site, tmp_path / "release")
    requested = [request.path for request in site.requests]
    assert (requested.count("a.zip"), requested.count("deep/b.csv"), requested.count("empty")) == (
        1,
        IMPATIENT.attempts,
        1,
    )


def test_retry_after_is_obeyed_up_to_a_limit(site, tmp_path):
    site.fault = lambda request: Fault(status=429, headers={"Retry-After": "9999"}) if request.number == 0 else FINE
    started = time.monotonic()
    assert download_all(site, tmp_path / "release", policy=replace(IMPATIENT, max_wait_s=0.3)) == {}
    assert 0.3 <= time.monotonic() - started < 3
    later = "Fri, 01 Jan 2100 00:00:00 GMT"
    assert responses._retry_after(later) > 1e9
    assert responses._retry_after("Fri, 01 Jan 1999 00:00:00 GMT") == 0
    assert responses._retry_after("soon") is None


def test_unreachable_host_is_reported_without_the_key(tmp_path):
    wanted = [Entry("x", 1, "", "MADE")]
    source = Source("http://127.0.0.1:9/x?key=secret")
    failures = download.download(
        wanted, tmp_path / "release", lambda _: source, DigestCache(tmp_path / "cache.json"), IMPATIENT
    )
    assert failures == {"x": "no connection to http://127.0.0.1:9/x"}


def test_slow_file_arrives_and_one_without_a_response_times_out(site, tmp_path, monkeypatch):
    site.fault = lambda request: Fault(chunk_pause_s=0.01, chunk=8192)
    assert download_all(site, tmp_path / "release") == {}
    monkeypatch.setattr(limits, "_now", Limits(stall_s=0.1))
    site.fault = lambda request: Fault(delay_s=0.5)
    failures = download_all(site, tmp_path / "other", entries(site.files)[:1], replace(IMPATIENT, attempts=1))
    assert failures == {"a.zip": f"no response in time from {site.url}/a.zip"}


def test_simultaneous_requests_to_one_host_are_limited(tmp_path):
    files = {f"{k}": content(k, 4000) for k in range(12)}
    with serving(Site(files, lambda request: Fault(chunk=1000, chunk_pause_s=0.01))) as site:
        assert download_all(site, tmp_path / "release", policy=replace(IMPATIENT, connections=8, per_host=3)) == {}
        assert site.max_connections == 3


def test_unpublished_digests_are_recorded_and_checked_from_then_on(site, tmp_path):
    site.files = {"a.zip": site.files["a.zip"], "b.csv": b"id,set\n1,dev\n"}
    open_entries = [replace(entry, size=None, digest="") for entry in entries(site.files)]
    assert download_all(site, tmp_path / "release", open_entries) == {}
    assert registry.read(tmp_path / "release" / download.RECORDED) == sorted(entries(site.files), key=lambda e: e.name)
    (tmp_path / "release" / "a.zip").unlink()
    site.files["a.zip"] = content(7, 90_000)
    failures = download_all(site, tmp_path / "release", open_entries)
    assert failures["a.zip"].startswith("wrong content: expected sha256:")
    assert "a.zip" not in files_in(tmp_path / "release")


EXPIRED = {"a.zip": b"Your key has expired.\n", "b.csv": b"Your key has expired.\n", "c.txt": b"", "d.bin": b"{}"}


def test_answer_about_an_expired_key_is_not_recorded_and_the_right_file_is_taken_later(site, tmp_path):
    site.files = dict(EXPIRED)
    wanted = [Entry(name, None, "", "MADE") for name in EXPIRED]
    failures = download_all(site, tmp_path / "release", wanted)
    assert {name: reason.split(":")[0] for name, reason in failures.items()} == {
        "a.zip": "text instead of the file",
        "b.csv": "a single line of text instead of the file",
        "c.txt": "an empty answer instead of the file",
        "d.bin": "text instead of the file",
    }
    assert list((tmp_path / "release").iterdir()) == []
    site.files = {"a.zip": b"PK\x03\x04", "b.csv": b"id,set\n1,dev\n", "c.txt": b"1.jpg\n2.jpg\n", "d.bin": b"\0"}
    assert download_all(site, tmp_path / "release", wanted) == {}
    assert files_in(tmp_path / "release") == site.files


def test_mismatch_with_a_first_download_says_where_that_is_recorded(site, tmp_path):
    wanted = [Entry("a.zip", None, "", "MADE")]
    assert download_all(site, tmp_path / "release", wanted) == {}
    (tmp_path / "release" / "a.zip").unlink()
    site.files["a.zip"] = content(7, 90_000)
    failures = download_all(site, tmp_path / "release", wanted)
    assert failures["a.zip"].endswith("take its line out of .recorded.txt if that was wrong)")


STATES = {
    "none": Fault(no_etag=True),
    "a weak ETag": Fault(no_etag=True, headers={"ETag": 'W/"1"'}),
    "the time of its change": Fault(no_etag=True, headers={"Last-Modified": "Fri, 01 Jan 1999 00:00:00 GMT"}),
}


@pytest.mark.parametrize("state", STATES)
def test_a_file_is_not_put_together_from_two_of_equal_length(state, site, tmp_path):
    """The server calls the second one as the first; where it gives a time, that differs."""
    new = content(9, 90_000)

    def fault(request):
        if request.number == 1:
            site.files["a.zip"] = new
        later = {"Last-Modified": "Sat, 02 Jan 1999 00:00:00 GMT"} if "time" in state else STATES[state].headers
        return replace(STATES[state], cut_after=0.5) if not request.number else replace(STATES[state], headers=later)

    site.fault = fault
    assert download_all(site, tmp_path / "release", [Entry("a.zip", None, "", "MADE")]) == {}
    assert files_in(tmp_path / "release") == {"a.zip": new}


@pytest.mark.parametrize("state", STATES)
def test_a_file_with_a_time_or_a_known_digest_is_resumed(state, site, tmp_path):
    site.fault = lambda request: replace(STATES[state], cut_after=0.5) if not request.number else STATES[state]
    known = state != "the time of its change"
    wanted = [entry if known else replace(entry, digest="") for entry in entries(site.files)[:1]]
    assert download_all(site, tmp_path / "release", wanted) == {}
    assert files_in(tmp_path / "release") == {"a.zip": site.files["a.zip"]}
    assert site.requests[-1].headers["Range"] == "bytes=45000-"


def test_what_a_kill_at_the_very_end_left_is_removed(site, tmp_path):
    download_all(site, tmp_path / "release")
    (tmp_path / "release" / ".a.zip.partial.note").write_text("[]")
    assert download_all(site, tmp_path / "release") == {}
    assert [path.name for path in (tmp_path / "release").rglob(".*")] == []


def test_a_file_is_recorded_before_it_is_there(site, tmp_path):
    """A folder in its place ends the run at that moment; the next one finishes the file without a request."""
    open_entry = [Entry("a.zip", None, "", "MADE")]
    (tmp_path / "release" / "a.zip" / "x").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        download_all(site, tmp_path / "release", open_entry)
    assert registry.read(tmp_path / "release" / ".recorded.txt") == entries(site.files)[:1]
    shutil.rmtree(tmp_path / "release" / "a.zip")
    site.requests.clear()
    assert download_all(site, tmp_path / "release", open_entry) == {}
    assert files_in(tmp_path / "release") == {"a.zip": site.files["a.zip"]}
    assert site.requests == []


def test_damaged_file_is_replaced(site, tmp_path):
    download_all(site, tmp_path / "release")
    (tmp_path / "release" / "a.zip").write_bytes(content(3, 90_000))
    assert download_all(site, tmp_path / "release") == {}
    assert files_in(tmp_path / "release") == site.files


def test_too_little_disk_space_raises_an_error_before_any_request(site, tmp_path):
    wanted = [Entry("a.zip", 10**18, "", "MADE")]
    with pytest.raises(UserError, match=r"GB of free disk space, but 1000000000\.0 GB of the release are missing"):
        download_all(site, tmp_path / "release", wanted)
    assert site.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_ends_the_run(site, tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / ".a.zip.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        download_all(site, tmp_path / "release")


def test_logs_records_and_reasons_contain_neither_key_nor_login(site, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    site.fault = lambda request: Fault(status=401) if request.path == "a.zip" else FINE
    failures = download.download(
        entries(site.files),
        tmp_path / "release",
        lambda entry: Source(f"{site.url}/get?key=k3y&file={entry.name}", ("user", "pa55")),
        DigestCache(tmp_path / "cache.json"),
        IMPATIENT,
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
test_download.download_all(Site({"big": test_download.content(5, 2_000_000)}, url=sys.argv[1]), Path(sys.argv[2]))
"""


def test_killed_run_keeps_what_has_arrived(tmp_path):
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
        assert download_all(site, tmp_path / "release") == {}
        assert site.requests[-1].headers["Range"] == f"bytes={kept}-"
        assert files_in(tmp_path / "release") == {"big": data}


def test_few_bytes_are_sent_twice_if_every_fifth_connection_is_cut(tmp_path):
    files = {f"part{k}": content(k, 100_000) for k in range(40)}

    def fault(request):
        draw = random.Random(f"{request.path} {request.number}")
        return Fault(cut_after=draw.random()) if draw.random() < 0.2 else FINE

    with serving(Site(files, fault)) as site:
        assert download_all(site, tmp_path / "release") == {}
        assert files_in(tmp_path / "release") == files
        assert len(site.requests) > 1.1 * len(files)
        assert site.sent <= 1.2 * sum(map(len, files.values()))
