"""Pictures by address: what comes, what is gone for good, and what a later run asks for again."""

import pytest
from faulty_server import FINE, Fault, Site, serving
from media_samples import encoded, noise

from stages.acquisition import listed_images
from stages.acquisition.listed_images import Picture
from stages.acquisition.retries import Manners
from stages.acquisition.transfer import Limits

HASTY = Manners(at_once=8, per_host=4, tries=2, first_wait_s=0.001, longest_wait_s=0.01)
JPEG = encoded(noise(40, 30))


@pytest.fixture
def site():
    files = {f"owner/{k}.jpg": JPEG for k in range(6)} | {"original/9.jpg": JPEG, "page.jpg": b"<p>gone</p>"}
    with serving(Site(files)) as serving_site:
        yield serving_site


def bring(site, tmp_path, wanted: dict[str, list[str]], limits: Limits = listed_images.LIMITS) -> dict[str, str]:
    """Reason by name of those that are not there."""
    listed = [Picture(name, tuple(f"{site.url}/{path}" for path in paths)) for name, paths in wanted.items()]
    results = list(listed_images.bring(listed, tmp_path / "release", tmp_path / "journal.jsonl", HASTY, limits))
    assert len(results) == len(listed)
    assert {path.name for path in (tmp_path / "release").rglob(".*")} == set()
    return {reject.key: reject.reason for reject in results if reject}


def test_the_owners_copy_comes_first_and_the_original_second(site, tmp_path):
    wanted = {f"images/{k}.jpg": [f"owner/{k}.jpg", f"original/{k}.jpg"] for k in (0, 1, 9)}
    assert bring(site, tmp_path, wanted) == {}
    assert sorted(path.name for path in (tmp_path / "release" / "images").iterdir()) == ["0.jpg", "1.jpg", "9.jpg"]
    assert (tmp_path / "release" / "images" / "9.jpg").read_bytes() == JPEG
    assert sorted(request.path for request in site.requests) == [
        "original/9.jpg",
        "owner/0.jpg",
        "owner/1.jpg",
        "owner/9.jpg",
    ]


def test_a_later_run_asks_only_for_what_could_come_back(site, tmp_path):
    answers = {"owner/0.jpg": Fault(status=404), "owner/1.jpg": Fault(status=410), "owner/2.jpg": Fault(status=503)}
    site.fault = lambda request: answers.get(request.path, FINE)
    wanted = {f"{k}.jpg": [f"owner/{k}.jpg"] for k in range(4)} | {"page.jpg": ["page.jpg"]}
    first = bring(site, tmp_path, wanted)
    assert first == {
        "0.jpg": "address is dead: no such file on the server (HTTP 404)",
        "1.jpg": "address is dead: no such file on the server (HTTP 410)",
        "2.jpg": "address does not answer: the server is busy or broken (HTTP 503)",
        "page.jpg": "address is dead: not an image: neither JPEG, PNG, BMP nor TIFF",
    }
    answers.clear()
    site.requests.clear()
    assert bring(site, tmp_path, wanted) == {name: reason for name, reason in first.items() if name != "2.jpg"}
    assert [request.path for request in site.requests] == ["owner/2.jpg"]


def test_another_address_for_a_picture_that_was_gone_is_tried(site, tmp_path):
    assert bring(site, tmp_path, {"0.jpg": ["nowhere/0.jpg"]})
    assert bring(site, tmp_path, {"0.jpg": ["owner/0.jpg"]}) == {}


def test_half_a_line_of_a_killed_run_does_no_harm(site, tmp_path):
    bring(site, tmp_path, {"0.jpg": ["nowhere/0.jpg"]})
    journal = tmp_path / "journal.jsonl"
    journal.write_text(journal.read_text() + '["1.jpg", ["http://')
    bring(site, tmp_path, {"2.jpg": ["nowhere/2.jpg"]})
    site.requests.clear()
    assert set(bring(site, tmp_path, {f"{k}.jpg": [f"nowhere/{k}.jpg"] for k in (0, 2)})) == {"0.jpg", "2.jpg"}
    assert site.requests == []


CONTENT = {
    "empty": (b"", "not an image"),
    "a gif": (b"GIF89a" + bytes(20), "not an image"),
    "a login page": (b"<!doctype html><title>login</title>", "an HTML page came"),
    "half a header": (JPEG[:20], "image is cut short"),
    "too large": (JPEG + bytes(100_000), "too large"),
}


@pytest.mark.parametrize("what", CONTENT)
def test_what_is_no_picture_or_too_large_is_gone_for_good(site, tmp_path, what):
    site.files["0.jpg"], reason = CONTENT[what]
    found = bring(site, tmp_path, {"0.jpg": ["0.jpg"]}, Limits(most=50_000))
    assert found["0.jpg"].startswith(f"address is dead: {reason}")
    assert not (tmp_path / "release" / "0.jpg").exists()


def test_too_large_a_picture_of_unknown_length_is_cut_off(site, tmp_path):
    site.files["0.jpg"] = JPEG + bytes(3_000_000)
    site.fault = lambda request: Fault(no_length=True)
    assert "more than 50000 bytes" in bring(site, tmp_path, {"0.jpg": ["0.jpg"]}, Limits(most=50_000))["0.jpg"]


def test_a_picture_that_trickles_in_is_given_up(site, tmp_path):
    site.fault = lambda request: Fault(chunk=20, chunk_pause_s=0.02)
    reason = bring(site, tmp_path, {"0.jpg": ["owner/0.jpg"]}, Limits(seconds=0.05))["0.jpg"]
    assert reason.startswith("address does not answer: too slow")


def test_two_sources_are_never_glued(site, tmp_path):
    site.files["other.jpg"] = encoded(noise(41, 30, 5))
    site.fault = lambda request: Fault(cut_after=0.5, no_etag=True) if request.path == "owner/0.jpg" else FINE
    assert bring(site, tmp_path, {"0.jpg": ["owner/0.jpg", "other.jpg"]}) == {}
    assert (tmp_path / "release" / "0.jpg").read_bytes() in (site.files["other.jpg"], JPEG)


def test_addresses_that_are_none_are_dead_and_a_host_without_answer_is_soon_left_alone(site, tmp_path):
    site.url = "ftp://old.example"
    assert bring(site, tmp_path, {"0.jpg": ["0.jpg"]})["0.jpg"].startswith("address is dead: ")
    site.url = "http://[half"
    assert bring(site, tmp_path, {"1.jpg": ["1.jpg"], "none.jpg": []}) == {
        "1.jpg": "address is dead: no valid address",
        "none.jpg": "address is dead: none is listed",
    }
    site.url = "http://127.0.0.1:9"
    found = bring(site, tmp_path, {f"{k}.jpg": [f"{k}.jpg"] for k in range(40)})
    assert set(found.values()) >= {"address does not answer: no connection to 127.0.0.1:9"}


def test_requests_to_one_host_are_bounded(site, tmp_path):
    site.fault = lambda request: Fault(answer_after_s=0.05)
    assert bring(site, tmp_path, {f"{k}.jpg": [f"owner/{k % 6}.jpg"] for k in range(20)}) == {}
    assert site.most_at_once == HASTY.per_host
