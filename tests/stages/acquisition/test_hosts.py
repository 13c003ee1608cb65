import pytest

from stages.acquisition import hosts
from stages.acquisition.hosts import Host
from stages.runtime.errors import UserError

KEYED = {"FABNET_VOXCELEB_URL": "https://owner.example/download/voxceleb", "FABNET_VOXCELEB_KEY": "k&y"}


def test_url_with_a_key_contains_key_and_file():
    host = hosts.find("VOXCELEB", KEYED)
    assert host
    assert host.url("a b.zip") == "https://owner.example/download/voxceleb?key=k%26y&file=a+b.zip"


def test_older_scheme_is_a_folder_with_a_login():
    names = {"URL": "http://owner.example/vox1a/", "USER": "me", "PASSWORD": "pa55"}
    host = hosts.find("VOXCELEB", {f"FABNET_VOXCELEB_{name}": value for name, value in names.items()})
    assert host == Host("http://owner.example/vox1a/", login=("me", "pa55"))
    assert host.url("deep/a b.zip") == "http://owner.example/vox1a/deep/a%20b.zip"


def test_printing_a_host_shows_no_secrets():
    assert "k&y" not in repr(hosts.find("VOXCELEB", KEYED))
    assert "pa55" not in repr(Host("http://owner.example", login=("me", "pa55")))


def test_host_without_a_url_is_none():
    assert hosts.find("VOXCELEB", {"FABNET_VOXCELEB_KEY": "key"}) is None
    assert hosts.mirror("w300", {}) is None


def test_mirror_has_a_folder_for_each_data_set():
    mirror = hosts.mirror("w300", {"FABNET_MIRROR": "http://127.0.0.1:8765/"})
    assert mirror
    assert mirror.url("afw/1.jpg") == "http://127.0.0.1:8765/w300/afw/1.jpg"


@pytest.mark.parametrize(
    "url", ["ftp://owner.example", "owner.example", "http://", "http://me:pa55@owner.example", "http://[::1"]
)
def test_invalid_url_raises_an_error_that_does_not_quote_it(url):
    with pytest.raises(UserError, match="FABNET_VOXCELEB_URL should be an http") as error:
        hosts.find("VOXCELEB", {"FABNET_VOXCELEB_URL": url})
    assert "pa55" not in str(error.value)


def test_half_a_login_raises_an_error():
    with pytest.raises(UserError, match="should both be set"):
        hosts.find("VOXCELEB", {"FABNET_VOXCELEB_URL": "http://owner.example", "FABNET_VOXCELEB_USER": "me"})


def test_secrets_are_removed_from_urls():
    assert (
        hosts.without_secrets("https://me:pa55@owner.example:8/a/b?key=k3y&file=x#part")
        == "https://owner.example:8/a/b"
    )


def test_invalid_url_has_no_server_and_is_not_quoted():
    assert hosts.server("http://[half") == hosts.server("not a URL") == ""
    assert "half" not in hosts.without_secrets("http://[half?key=k3y")
    assert hosts.server("https://me:pa55@owner.example:8/a") == "owner.example:8"
