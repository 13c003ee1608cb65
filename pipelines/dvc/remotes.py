"""Remotes of DVC: those that are set, and a folder of this machine as a new one."""

from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo

from pipelines.dvc import graph
from stages.runtime.errors import UserError


class Remote(NamedTuple):
    name: str
    url: str
    is_default: bool  # `dvc push` and `dvc pull` use it without being told its name


def remotes(root: Path) -> list[Remote]:
    """Every remote of the merged configuration, the default one first.

    Raises:
        UserError: DVC cannot read its configuration.
    """
    settings = graph.settings(root)
    default = settings["core"].get("remote")
    found = [Remote(name, str(remote["url"]), name == default) for name, remote in settings["remote"].items()]
    return sorted(found, key=lambda remote: not remote.is_default)


def add_default(root: Path, name: str, url: str) -> None:
    """Set the default remote in .dvc/config.local, which git ignores.

    Raises:
        UserError: DVC cannot write its configuration.
    """
    try:
        with Repo(str(root)) as repo, repo.config.edit("local") as settings:
            settings["remote"][name] = {"url": url}
            settings["core"]["remote"] = name
    except (DvcException, OSError) as error:
        raise UserError(f"DVC cannot set the remote {name}: {' '.join(str(error).split())}") from None
