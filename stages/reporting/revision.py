"""Which version of the project's code made a result."""

import hashlib
import os
import subprocess
from pathlib import Path

FOLDERS = ("fabnet", "stages")
SUFFIXES = (".py", ".html", ".css", ".md")

UNKNOWN = "unknown"
REFUSED = (
    "git refuses this folder, which belongs to another user: `git config --global --add safe.directory '{}'` allows it"
)
# What git says -> why it knows no commit; the folder is filled in.
REASONS = {
    "dubious ownership": REFUSED,
    "unsafe repository": REFUSED,  # git before 2.37
    "not a git repository": "this is no git checkout",
    "Needed a single revision": "there is no commit yet",
    "ambiguous argument 'HEAD'": "there is no commit yet",
    "bad revision 'HEAD'": "there is no commit yet",
}


class GitError(Exception):
    """Git does not answer; the message is why, as the end of a sentence."""


def code_hash(root: Path) -> str:
    """12 hex digits that name the code in `fabnet/` and `stages/`: equal files give equal digits, in any commit."""
    paths = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in SUFFIXES]
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def commit(root: Path) -> str:
    """12 hex digits of the commit that is checked out; outside of a git checkout UNKNOWN and the reason."""
    try:
        return git(root, "rev-parse", "--verify", "HEAD")[:12]
    except GitError as error:
        return f"{UNKNOWN}, since {error}"


def uncommitted(root: Path) -> list[str]:
    """Files of the code that differ from the commit, sorted: changed, new or deleted ones; none without a commit."""
    try:
        changed = git(root, "diff", "--name-only", "HEAD", "--", *FOLDERS)
        new = git(root, "ls-files", "--others", "--exclude-standard", "--", *FOLDERS)
    except GitError:
        return []
    return sorted(name for name in (*changed.splitlines(), *new.splitlines()) if Path(name).suffix in SUFFIXES)


def git(root: Path, *arguments: str) -> str:
    """What git prints about the checkout in `root`.

    Raises:
        GitError: there is no git, no checkout or no commit, or git refuses the folder, as it does if it is another
            user's.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, errors="replace", check=False, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        raise GitError(f"git cannot be run ({error.strerror})") from None
    if done.returncode == 0:
        return done.stdout.strip()
    for sign, reason in REASONS.items():
        if sign in done.stderr:
            raise GitError(reason.format(root.resolve()))
    raise GitError(f"git says: {' '.join(done.stderr.split()) or 'nothing'}")
