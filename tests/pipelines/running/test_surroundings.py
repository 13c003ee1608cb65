import os

import pytest

from pipelines.running import server, surroundings
from stages.runtime.errors import UserError

URL = "http://127.0.0.1:4200"


@pytest.mark.parametrize(
    ("environment", "past"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "intra.example, 127.0.0.1"}, "intra.example,127.0.0.1,localhost,::1"),
        ({"no_proxy": ".example", "NO_PROXY": ".other"}, ".example,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_loopback_is_added_to_the_hosts_without_a_proxy(environment, past):
    assert surroundings.direct(environment) == {"no_proxy": past, "NO_PROXY": past}


def test_a_process_that_uses_our_server_has_none_of_the_users_settings_of_prefect(monkeypatch):
    users = {"API_KEY": "secret", "PROFILES_PATH": "/u", "PROFILE": "cloud", "SERVER_DATABASE_CONNECTION_URL": "x://"}
    for name, value in users.items():
        monkeypatch.setenv(f"PREFECT_{name}", value)
    environment = server.environment(URL)
    assert {name: value for name, value in environment.items() if name.startswith("PREFECT_")} == {
        "PREFECT_API_URL": f"{URL}/api",
        "PREFECT_UI_URL": f"{URL}/v2",
    }
    assert environment["DO_NOT_TRACK"] == "1"
    assert "127.0.0.1" in environment["NO_PROXY"]
    monkeypatch.setattr(os, "environ", dict(os.environ))
    server.use(URL)
    assert os.environ == environment


def test_a_user_without_a_name_gets_the_uid_as_one(without_a_name):
    surroundings.prepare()
    assert os.environ["USER"] == str(without_a_name)
    assert surroundings.nameless() == ""


def test_a_user_without_a_home_is_told_to_set_it(without_a_name, monkeypatch):
    monkeypatch.delenv("HOME")
    with pytest.raises(UserError, match="set HOME"):
        surroundings.prepare()
