"""What DVC and Prefect expect of the machine around them: a name and a home for the user, loopback without a proxy."""

import getpass
import os
from collections.abc import Mapping
from pathlib import Path

from stages.runtime.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HOME = "the user has no home folder, where DVC and Prefect look for settings: set HOME, such as `export HOME=/tmp`"


def nameless() -> str:
    """Why DVC stops for a user whose uid has no name, and the way out; empty if there is a name."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"the uid {os.getuid()} has no name, and DVC by itself stops without one: set USER, `export USER=me`"
    return ""


def prepare() -> None:
    """Let a user without a name have the uid as one, in this process and those that it starts.

    Raises:
        UserError: there is no home folder.
    """
    if nameless():
        os.environ["USER"] = str(os.getuid())
    try:
        Path.home()
    except RuntimeError:
        raise UserError(HOME) from None


def direct(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that lead past a proxy, with loopback among the hosts that they name."""
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    if "*" in hosts:
        return {"no_proxy": "*", "NO_PROXY": "*"}
    past = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))
    return {"no_proxy": past, "NO_PROXY": past}
