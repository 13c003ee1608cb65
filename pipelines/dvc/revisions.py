"""Content of a file of the project at a revision: from git, from DVC's cache or from its remote."""

from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException, OutputNotFoundError
from dvc.repo import Repo
from dvc.scm import RevError

from pipelines.dvc import graph
from stages.runtime.errors import UserError

WORKSPACE = "workspace"  # DVC's name for the files as they are now


def read(root: Path, path: Path, revision: str) -> bytes:
    """The bytes of `path`, relative to `root`, at a commit, tag, branch or experiment, or in the workspace.

    Raises:
        UserError: no such revision, it has no such file, or the file is in no cache and no remote.
    """
    if revision == WORKSPACE:
        return _read_workspace(root, path)
    try:
        with Repo(str(root), rev=revision, config=graph.settings(root)) as repo:  # its remotes may have moved since
            if not _is_recorded(repo, path):
                raise UserError(f"{revision} has no {path}: nobody ran `dvc repro` and committed dvc.lock before it")
            with DVCFileSystem(repo=repo).open(path.as_posix(), "rb") as file:
                return file.read()
    except RevError:
        raise UserError(
            f"no revision {revision!r}: expected a commit, tag or branch of git, "
            f"an experiment of `dvc exp show`, or {WORKSPACE}"
        ) from None
    except DvcException as error:
        raise UserError(f"DVC cannot read {path} at {revision}: {' '.join(str(error).split())}") from None
    except OSError:
        raise UserError(
            f"{path} at {revision} is neither in DVC's cache nor in a remote: run `dvc push` where it was made, "
            f"or `git checkout {revision}` and `dvc repro` here"
        ) from None


def _read_workspace(root: Path, path: Path) -> bytes:
    try:
        return (root / path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `make repro` or `dvc checkout` to make it") from None


def _is_recorded(repo: Repo, path: Path) -> bool:
    """Whether git holds the file, or dvc.lock the digest of its content."""
    if repo.fs.exists(repo.fs.join(repo.root_dir, *path.parts)):
        return True
    try:
        return any(out.hash_info for out in repo.find_outs_by_path(repo.fs.join(repo.root_dir, *path.parts)))
    except OutputNotFoundError:
        return False
