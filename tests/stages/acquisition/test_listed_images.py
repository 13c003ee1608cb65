"""Images by URL: which ones arrive, which failures are permanent, and what a later run requests again."""

import pytest
from faulty_server import FINE, Fault, Site, serving
from media_samples import encoded, noise

from stages.acquisition import listed_images, transfer
from stages.acquisition.listed_images import ListedImage
from stages.acquisition.retries import RetryPolicy
from stages.acquisition.transfer import Expected

IMPATIENT = RetryPolicy(connections=8, per_host=4, attempts=2, first_wait_s=0.001, max_wait_s=0.01)
JPEG = encoded(noise(40, 30))


@pytest.fixture
def site():
    files = {f"owner/{k}.jpg": JPEG for k in range(6)} | {"original/9.jpg": JPEG, "page.jpg": b"<p>gone</p>"}
    with serving(Site(files)) as serving_site:
        yield serving_site


def download(site, tmp_path, images: dict[str, list[str]], expected: Expected | None = None) -> dict[str, str]:
    """Name -> reason of the rejects."""
    listed = [ListedImage(name, tuple(f"{site.url}/{path}" for path in paths)) for name, paths in images.items()]
    with transfer.client() as client:
        into = tmp_path / "release", tmp_path / "journal.jsonl"
        results = list(
            listed_images.download(
                client, listed, *into, policy=IMPATIENT, expected=expected or listed_images.expected()
            )
        )
    assert len(results) == len(listed)
    assert {path.name for path in (tmp_path / "release").rglob(".*")} == set()
    return {reject.key: reject.reason for reject in results if reject}


def test_owners_copy_is_tried_before_the_original(site, tmp_path):
    images = {f"images/{k}.jpg": [f"owner/{k}.jpg", f"original/{k}.jpg"] for k in (0, 1, 9)}
    assert download(site, tmp_path, images) == {}
    assert sorted(path.name for path in (tmp_path / "release" / "images").iterdir()) == ["0.jpg", "1.jpg", "9.jpg"]
    assert (tmp_path / "release" / "images" / "9.jpg").read_bytes() == JPEG
    assert sorted(request.path for request in site.requests) == [
        "original/9.jpg",
        "owner/0.jpg",
        "owner/1.jpg",
        "owner/9.jpg",
    ]


def test_later_run_requests_only_temporary_failures(site, tmp_path):
    faults = {"owner/0.jpg": Fault(status=404), "owner/1.jpg": Fault(status=410), "owner/2.jpg": Fault(status=503)}
    site.fault = lambda request: faults.get(request.path, FINE)
    images = {f"{k}.jpg": [f"owner/{k}.jpg"] for k in range(4)} | {"page.jpg": ["page.jpg"]}
    first = download(site, tmp_path, images)
    assert first == {
        "0.jpg": "URL is dead: no such file on the server (HTTP 404)",
        "1.jpg": "URL is dead: no such file on the server (HTTP 410)",
        "2.jpg": "URL does not respond: the server is busy or broken (HTTP 503)",
        "page.jpg": "URL is dead: not an image: neither JPEG, PNG, BMP nor TIFF",
    }
    faults.clear()
    site.requests.clear()
    assert download(site, tmp_path, images) == {name: reason for name, reason in first.items() if name != "2.jpg"}
    assert [request.path for request in site.requests] == ["owner/2.jpg"]


def test_new_url_of_a_failed_image_is_tried(site, tmp_path):
    assert download(site, tmp_path, {"0.jpg": ["nowhere/0.jpg"]})
    assert download(site, tmp_path, {"0.jpg": ["owner/0.jpg"]}) == {}


def test_incomplete_journal_line_of_a_killed_run_is_ignored(site, tmp_path):
    download(site, tmp_path, {"0.jpg": ["nowhere/0.jpg"]})
    journal = tmp_path / "journal.jsonl"
    journal.write_text(journal.read_text() + '["1.jpg", ["http://')
    download(site, tmp_path, {"2.jpg": ["nowhere/2.jpg"]})
    site.requests.clear()
    assert set(download(site, tmp_path, {f"{k}.jpg": [f"nowhere/{k}.jpg"] for k in (0, 2)})) == {"0.jpg", "2.jpg"}
    assert site.requests == []


CONTENT = {
    "empty": (b"", "not an image"),
    "a gif": (b"GIF89a" + bytes(20), "not an image"),
    "the head of a png": (encoded(noise(40, 30), ".png")[:24], "image is cut short"),
    "a login page": (b"<!doctype html><title>login</title>", "an HTML page instead of the file"),
    "half a header": (JPEG[:20], "image is cut short"),
    "too large": (JPEG + bytes(100_000), "too large"),
}


@pytest.mark.parametrize("what", CONTENT)
def test_invalid_and_too_large_images_fail_for_good(site, tmp_path, what):
    site.files["0.jpg"], reason = CONTENT[what]
    reasons = download(site, tmp_path, {"0.jpg": ["0.jpg"]}, Expected(max_bytes=50_000, end_checked=True))
    assert reasons["0.jpg"].startswith(f"URL is dead: {reason}")
    assert not (tmp_path / "release" / "0.jpg").exists()


def test_too_large_image_of_unknown_length_is_cut_off(site, tmp_path):
    site.files["0.jpg"] = JPEG + bytes(3_000_000)
    site.fault = lambda request: Fault(no_length=True)
    assert (
        "more than 50000 bytes"
        in download(site, tmp_path, {"0.jpg": ["0.jpg"]}, Expected(max_bytes=50_000, end_checked=True))["0.jpg"]
    )


def test_slow_image_times_out(site, tmp_path):
    site.fault = lambda request: Fault(chunk=20, chunk_pause_s=0.02)
    reason = download(site, tmp_path, {"0.jpg": ["owner/0.jpg"]}, Expected(max_s=0.05))["0.jpg"]
    assert reason.startswith("URL does not respond: too slow")


def test_bytes_of_two_urls_are_never_joined(site, tmp_path):
    site.files["other.jpg"] = encoded(noise(41, 30, 5))
    site.fault = lambda request: Fault(cut_after=0.5, no_etag=True) if request.path == "owner/0.jpg" else FINE
    assert download(site, tmp_path, {"0.jpg": ["owner/0.jpg", "other.jpg"]}) == {}
    assert (tmp_path / "release" / "0.jpg").read_bytes() in (site.files["other.jpg"], JPEG)


def test_invalid_urls_fail_for_good_and_dead_hosts_are_skipped(site, tmp_path):
    site.url = "ftp://old.example"
    assert download(site, tmp_path, {"0.jpg": ["0.jpg"]})["0.jpg"].startswith("URL is dead: ")
    site.url = "http://[half"
    assert download(site, tmp_path, {"1.jpg": ["1.jpg"], "none.jpg": []}) == {
        "1.jpg": "URL is dead: not a valid URL",
        "none.jpg": "URL is dead: none is listed",
    }
    site.url = "http://127.0.0.1:9"
    reasons = download(site, tmp_path, {f"{k}.jpg": [f"{k}.jpg"] for k in range(40)})
    assert set(reasons.values()) >= {"URL does not respond: no connection to 127.0.0.1:9"}


def test_requests_to_one_host_are_limited(site, tmp_path):
    site.fault = lambda request: Fault(delay_s=0.05)
    assert download(site, tmp_path, {f"{k}.jpg": [f"owner/{k % 6}.jpg"] for k in range(20)}) == {}
    assert site.max_connections == IMPATIENT.per_host
