"""Which version of the project's code made a result."""

import hashlib
import subprocess
from pathlib import Path

FOLDERS = ("fabnet", "stages")
SUFFIXES = (".py", ".html", ".css", ".md")


def code_hash(root: Path) -> str:
    """12 hex digits that name the code in `fabnet/` and `stages/`: equal files give equal digits, in any commit."""
    paths = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in SUFFIXES]
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def commit(root: Path) -> str:
    """12 hex digits of the commit that is checked out; `unknown` outside of a git checkout, or without git."""
    return _git(root, "rev-parse", "HEAD")[:12] or "unknown"


def uncommitted(root: Path) -> list[str]:
    """Files of the code that differ from the commit, sorted: changed, new or deleted ones."""
    changed = _git(root, "diff", "--name-only", "HEAD", "--", *FOLDERS)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", *FOLDERS)
    return sorted(name for name in (*changed.splitlines(), *new.splitlines()) if Path(name).suffix in SUFFIXES)


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
