"""Partial files of interrupted downloads, each with a note on the file that it belongs to.

The note holds what the server calls this state of the file (a strong ETag, or else the time of its last change) and
its length. A partial file is continued only if the server still calls the file the same. Without such a name it begins
anew, unless the digest of the whole is known: then a file that was put together from two is noticed.
"""

import json
from pathlib import Path


class Partial:
    """A partial file; `state` and `length` are those of the file on the server, empty and None if they are unknown."""

    def __init__(self, path: Path, *, digest_known: bool) -> None:
        self.path = path
        self.state, self.length = _read(_note_of(path))
        self.size = path.stat().st_size if path.exists() else 0
        if not self.state and not (digest_known and self.length):
            self.size = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return bool(self.size) and self.size == self.length

    def request_headers(self) -> dict[str, str]:
        """Headers that ask for the missing bytes, provided that the file on the server is still the same."""
        if not self.size:
            return {}
        condition = {"If-Range": self.state} if self.state else {}
        return {"Range": f"bytes={self.size}-", **condition}

    def start(self, state: str, length: int | None) -> None:
        """Make it empty, for the file with this state and length."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        _note_of(self.path).write_text(json.dumps([state, length]), encoding="utf-8")
        self.state, self.length, self.size = state, length, 0

    def discard(self) -> None:
        """Remove it."""
        discard(self.path)


def beside(target: Path) -> Path:
    """Path of the partial file of `target`, hidden in the same folder."""
    return target.with_name(f".{target.name}.partial")


def discard(path: Path) -> None:
    """Remove a partial file and its note."""
    path.unlink(missing_ok=True)
    _note_of(path).unlink(missing_ok=True)


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.note")


def _read(note: Path) -> tuple[str, int | None]:
    try:
        state, length = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return "", None
    return (state, length) if isinstance(state, str) and isinstance(length, int | None) else ("", None)
