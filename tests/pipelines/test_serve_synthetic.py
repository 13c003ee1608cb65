import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from releases import put
from tiny_repository import ROOT

from pipelines import profile, serve_synthetic
from stages.acquisition import registry
from stages.runtime import config


@contextmanager
def serving(items) -> Iterator[str]:
    with serve_synthetic.listening(items, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield serve_synthetic.root_url(server)
        server.shutdown()
        thread.join()


@pytest.fixture
def items(tmp_path):
    put(tmp_path / "release" / "ibug" / "image_092 _01.pts", b"0123456789")
    put(tmp_path / "release" / "empty", b"")
    return serve_synthetic.items_of("w300", tmp_path / "release", tmp_path / "memory.json")


def test_every_file_is_served_and_listed_with_its_digest(items):
    with serving(items) as root:
        entries = registry.parse(httpx.get(f"{root}/w300/registry.txt").text, "index")
        assert [entry.name for entry in entries] == ["empty", "ibug/image_092 _01.pts"]
        assert httpx.get(f"{root}/w300/ibug/image_092%20_01.pts").content == b"0123456789"
        assert httpx.get(f"{root}/w300/empty").content == b""


def test_videos_of_ones_own_are_not_served():
    params = config.parsed(profile.text("own_videos", ROOT / "profiles"), "own_videos")
    assert serve_synthetic.served(params) == ["affectnet", "aflw", "emotionet", "mafl", "w300"]


def test_nothing_else_is_served(items):
    with serving(items) as root:
        for path in ("/", "/w300/", "/w300/../../../etc/passwd", "/w300/%2e%2e/memory.json", "/voxceleb1/registry.txt"):
            assert httpx.get(f"{root}{path}").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ({"Range": "bytes=4-"}, 206, b"456789"),
        ({"Range": "bytes=4-5"}, 206, b"45"),
        ({"Range": "bytes=4-99"}, 206, b"456789"),
        ({"Range": "bytes=4-", "If-Range": '"another"'}, 200, b"0123456789"),
        ({"Range": "lines=1-2"}, 200, b"0123456789"),
    ],
)
def test_ranges_are_answered(items, asked, status, body):
    with serving(items) as root:
        answer = httpx.get(f"{root}/w300/ibug/image_092%20_01.pts", headers=asked)
        assert (answer.status_code, answer.content) == (status, body)
        assert httpx.get(f"{root}/w300/ibug/image_092%20_01.pts", headers={"Range": "bytes=10-"}).status_code == 416
