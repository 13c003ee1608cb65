"""Where a guarded client connects to: names are resolved by the test, and every connection leads to loopback."""

import socket
import threading
from pathlib import Path

import httpcore
import pytest
from faulty_server import Fault, Site, serving
from media_samples import encoded, noise

from stages.acquisition import connections, hosts, listed_images, transfer
from stages.acquisition.connections import Network
from stages.acquisition.listed_images import ListedImage
from stages.acquisition.responses import PrivateError
from stages.acquisition.retries import RetryPolicy

PUBLIC = "93.184.215.14"
JPEG = encoded(noise(40, 30))


class ToLoopback(httpcore.SyncBackend):
    """Connects to the test's server, whatever the address, and keeps the addresses."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.addresses: list[str] = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.addresses.append(host)
        return super().connect_tcp("127.0.0.1", self.port, timeout, local_address, socket_options)


@pytest.fixture
def site():
    with serving(Site({"a.jpg": JPEG})) as serving_site:
        yield serving_site


def guarded(site: Site, names: dict[str, list[str]], named=()) -> tuple:
    """A guarded client to which the site is everywhere, and its backend."""

    def resolve(host: str, port: int) -> list[str]:
        found = names.get(host, [host] if host[0].isdigit() or ":" in host else [])
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found

    backend = ToLoopback(int(site.url.rpartition(":")[2]))
    return transfer.client(named, Network(resolve, backend)), backend


def get(client, url: str, tmp_path: Path) -> bytes:
    transfer.attempt(client, url, tmp_path / "x.partial", transfer.Expected())
    return (tmp_path / "x.partial").read_bytes()


NOT_PUBLIC = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1",
              "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1",
              "255.255.255.255", "no address"]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_never_connected_to(address, site, tmp_path):
    client, backend = guarded(site, {"photos.example": [address]})
    with client, pytest.raises(PrivateError, match="leads to a private address, which only a server that FABNET_MIRR"):
        get(client, "http://photos.example/a.jpg", tmp_path)
    assert (backend.addresses, site.requests) == ([], [])


def test_a_public_address_is_connected_to_as_it_was_checked(site, tmp_path):
    answers = iter([[PUBLIC], ["10.0.0.1"], ["10.0.0.1"]])  # a name that changes after it was checked
    client, backend = guarded(site, {})
    client = transfer.client((), Network(lambda host, port: next(answers), backend))
    with client:
        assert get(client, "http://photos.example/a.jpg", tmp_path) == JPEG
    assert backend.addresses == [PUBLIC]


def test_of_several_addresses_only_the_public_ones_are_tried(site, tmp_path):
    client, backend = guarded(site, {"photos.example": ["10.0.0.1", PUBLIC, "::1"]})
    with client:
        get(client, "http://photos.example/a.jpg", tmp_path)
    assert backend.addresses == [PUBLIC]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "inside.example", "2130706433"])
def test_a_redirect_to_a_private_address_is_not_followed(host, site, tmp_path):
    site.fault = lambda request: Fault(status=302, headers={"Location": f"http://{host}:{site.url[-5:]}/a.jpg"})
    inside = {"inside.example": ["192.168.0.9"], "2130706433": ["127.0.0.1"]}
    client, backend = guarded(site, {"photos.example": [PUBLIC], **inside})
    with client, pytest.raises(PrivateError):
        get(client, "http://photos.example/a.jpg", tmp_path)
    assert (backend.addresses, len(site.requests)) == ([PUBLIC], 1)


def test_servers_that_the_user_names_may_be_anywhere(site, tmp_path):
    variables = {
        "FABNET_MIRROR": site.url,
        "FABNET_LAB_URL": "https://photos.lab/x",
        "FABNET_LAB_KEY": "k",
        "OTHER": "x",
    }
    named = hosts.named(variables)
    assert named == {("127.0.0.1", int(site.url.rpartition(":")[2])), ("photos.lab", 443)}
    with transfer.client(named) as client:
        assert get(client, f"{site.url}/a.jpg", tmp_path) == JPEG


def test_a_loopback_server_that_nobody_named_gets_no_request(site, tmp_path):
    with transfer.client(()) as client:
        for url in (f"{site.url}/a.jpg", site.url.replace("127.0.0.1", "localhost") + "/a.jpg"):
            with pytest.raises(PrivateError):
                get(client, url, tmp_path)
    assert site.requests == []


LOCAL = ["10.0.0.1", "127.1", "2130706433", "[::1]", "localhost", "nas", "nas.local", "metadata.internal."]


@pytest.mark.parametrize("host", LOCAL)
def test_local_addresses_and_names_are_not_handed_to_a_proxy(host, site, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", site.url)
    monkeypatch.setenv("NO_PROXY", "")
    with transfer.client(()) as client, pytest.raises(PrivateError):
        get(client, f"http://{host}/a.jpg", tmp_path)
    assert site.requests == []


def test_behind_a_proxy_no_name_is_looked_up(site, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", site.url)
    monkeypatch.setenv("NO_PROXY", "")
    network = Network(lambda host, port: pytest.fail("looked up"), httpcore.SyncBackend())
    with transfer.client((), network) as client:
        assert get(client, "http://photos.example/a.jpg", tmp_path) == JPEG  # the site is the proxy here


def test_image_behind_a_private_address_is_a_reject_that_a_later_run_tries_again(site, tmp_path):
    images, policy = [ListedImage("0.jpg", (f"{site.url}/a.jpg",))], RetryPolicy(attempts=1)
    into = tmp_path / "release", tmp_path / "dead.jsonl"
    within = {"policy": policy, "expected": listed_images.expected()}
    with transfer.client(()) as client:
        (reject,) = listed_images.download(client, images, *into, **within)
    assert reject is not None
    assert reject.kind == "URL is not public"
    assert site.requests == []
    with transfer.client(hosts.named({"FABNET_MIRROR": site.url})) as client:
        assert list(listed_images.download(client, images, *into, **within)) == [None]


def test_a_deadline_is_that_of_its_thread_and_of_its_block():
    seen = []
    with connections.answer_within(0.0):
        with pytest.raises(httpcore.ReadTimeout):
            connections._waiting.left(5)
        thread = threading.Thread(target=lambda: seen.append(connections._waiting.left(5)))
        thread.start()
        thread.join()
    assert seen == [5]
    assert connections._waiting.left(5) == 5
