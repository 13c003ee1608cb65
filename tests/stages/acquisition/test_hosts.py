import pytest

from stages.acquisition import hosts
from stages.acquisition.hosts import Host
from stages.runtime.errors import UserError

KEYED = {"FABNET_VOXCELEB_URL": "https://owner.example/download/voxceleb", "FABNET_VOXCELEB_KEY": "k&y"}


def test_a_keyed_link_names_key_and_file():
    host = hosts.find("VOXCELEB", KEYED)
    assert host
    assert host.address("a b.zip") == "https://owner.example/download/voxceleb?key=k%26y&file=a+b.zip"


def test_the_older_scheme_is_a_folder_with_a_login():
    names = {"URL": "http://owner.example/vox1a/", "USER": "me", "PASSWORD": "pa55"}
    host = hosts.find("VOXCELEB", {f"FABNET_VOXCELEB_{name}": value for name, value in names.items()})
    assert host == Host("http://owner.example/vox1a/", login=("me", "pa55"))
    assert host.address("deep/a b.zip") == "http://owner.example/vox1a/deep/a%20b.zip"


def test_secrets_do_not_show_when_a_host_is_printed():
    assert "k&y" not in repr(hosts.find("VOXCELEB", KEYED))
    assert "pa55" not in repr(Host("http://owner.example", login=("me", "pa55")))


def test_without_an_address_there_is_no_host():
    assert hosts.find("VOXCELEB", {"FABNET_VOXCELEB_KEY": "key"}) is None
    assert hosts.mirror("w300", {}) is None


def test_a_mirror_has_a_folder_for_every_data_set():
    mirror = hosts.mirror("w300", {"FABNET_MIRROR": "http://127.0.0.1:8765/"})
    assert mirror
    assert mirror.address("afw/1.jpg") == "http://127.0.0.1:8765/w300/afw/1.jpg"


@pytest.mark.parametrize(
    "address", ["ftp://owner.example", "owner.example", "http://", "http://me:pa55@owner.example", "http://[::1"]
)
def test_a_wrong_address_is_a_user_error_that_does_not_repeat_it(address):
    with pytest.raises(UserError, match="FABNET_VOXCELEB_URL should be an http") as error:
        hosts.find("VOXCELEB", {"FABNET_VOXCELEB_URL": address})
    assert "pa55" not in str(error.value)


def test_half_a_login_is_a_user_error():
    with pytest.raises(UserError, match="should both be set"):
        hosts.find("VOXCELEB", {"FABNET_VOXCELEB_URL": "http://owner.example", "FABNET_VOXCELEB_USER": "me"})


def test_an_address_is_shown_without_its_secrets():
    assert hosts.shown("https://me:pa55@owner.example:8/a/b?key=k3y&file=x#part") == "https://owner.example:8/a/b"


def test_an_address_that_is_none_has_no_server_and_is_not_shown():
    assert hosts.server("http://[half") == hosts.server("no address") == ""
    assert "half" not in hosts.shown("http://[half?key=k3y")
    assert hosts.server("https://me:pa55@owner.example:8/a") == "owner.example:8"
