"""Which version of the project's code made a result."""

import subprocess
from pathlib import Path

CODE = ("fabnet", "stages")


def code_rev(root: Path) -> str:
    """12 hex digits of the last commit that touched the code, `+dirty` if the files differ from it.

    `unknown` where `root` is no git checkout, or git is not installed. Later commits to documents or tests do not
    change the answer.
    """
    commit = _git(root, "log", "-1", "--format=%H", "--", *CODE)
    if not commit:
        return "unknown"
    return commit[:12] + ("+dirty" if _git(root, "status", "--porcelain", "--", *CODE) else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
