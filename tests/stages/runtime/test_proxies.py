import pytest

from stages.acquisition import transfer
from stages.runtime import proxies
from stages.runtime.errors import UserError


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for kind in ("HTTP", "HTTPS", "ALL", "NO"):
        for name in (f"{kind}_PROXY", f"{kind}_proxy".lower()):
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["ALL_PROXY", "https_proxy"])
def test_a_socks_proxy_without_its_package_is_one_sentence(monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv(name, "socks5h://user:secret@proxy.example:1080")
    with pytest.raises(UserError, match="names a SOCKS proxy") as told:
        transfer.client()
    assert "secret" not in str(told.value)
    monkeypatch.setenv("NO_PROXY", "*")
    transfer.client().close()


def test_other_proxies_are_used(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    proxies.check()
    transfer.client().close()
