"""A folder as DVC's remote, through which clones share results: `make remote`.

It is set in .dvc/config.local, so that the repository stays as it is. A remote that is set already is left alone.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.dvc.remotes import Remote, add_default, remotes
from stages.runtime import command
from stages.runtime.errors import UserError

NAME = "store"
CONTENT = "files"  # what DVC makes in the folder of a remote


def share(root: Path, named: str | None) -> str:
    """Make a folder the remote, if there is none; returns a sentence that says what holds now and what to do with it.

    Without a name it is `<project>-remote` beside the project.

    Raises:
        UserError: another remote than the named one is set, or the folder cannot be one.
    """
    folder = _folder(root, named)
    found = remotes(root)
    same = [remote for remote in found if Path(remote.url).resolve() == folder]
    if named and found and not same:
        raise UserError(f"the remote {found[0].name} ({found[0].url}) is set already and stays: use it, or end it by "
                        f"`dvc remote remove {found[0].name}`, with --local if `make remote` set it")  # fmt: skip
    if found:
        return _told(same[0] if same else found[0], "is the remote already")
    is_empty = _made(root, folder)
    add_default(root, NAME, str(folder))
    what = "is the remote now" + (", empty so far" if is_empty else "")
    return _told(Remote(NAME, str(folder), is_default=True), what)


def _folder(root: Path, named: str | None) -> Path:
    if named and "://" in named:
        raise UserError(f"FOLDER should be a folder of this machine, found {named}: for other places use "
                        "`dvc remote add`, see docs/scaling.md")  # fmt: skip
    project = root.resolve()
    return Path(named).expanduser().resolve() if named else project.with_name(f"{project.name}-remote")


def _made(root: Path, folder: Path) -> bool:
    """Make the folder, if it is not there; returns whether it is empty.

    Raises:
        UserError: it is in the project, a file, holds other files, or cannot be made or written.
    """
    if folder.is_relative_to(root.resolve()):
        raise UserError(f"{folder} should lie outside of the project: name another folder with FOLDER=")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise UserError(f"{folder} cannot be the remote ({error.strerror}): name another folder with FOLDER=") from None
    if names and CONTENT not in names:
        raise UserError(f"{folder} should be empty or a remote of DVC, found other files: name another folder with "
                        "FOLDER=")  # fmt: skip
    if not names and not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be the remote (no permission to write): name another folder with FOLDER=")
    return not names


def _told(remote: Remote, what: str) -> str:
    option = "" if remote.is_default else f" --remote {remote.name}"
    join = f"dvc remote add --default {remote.name} " if "://" in remote.url else "make remote FOLDER="
    return (
        f"{remote.url} {what} ({remote.name}): `dvc push{option}` sends results there, `dvc pull{option}` brings them; "
        f"another clone takes part by `{join}{remote.url}`"
    )


def main(arguments: Sequence[str], root: Path = Path()) -> None:
    """Command line.

    Raises:
        UserError: as `share`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.remote", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", help="default: <project>-remote beside the project")
    print(share(root, parser.parse_args(arguments).folder))


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
