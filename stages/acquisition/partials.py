"""Partial files of interrupted downloads, each with a note on the file that it belongs to."""

import json
from pathlib import Path


class Partial:
    """A partial file; ETag and length are those of the file on the server, empty and None if they are unknown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.etag, self.length = _read(_note_of(path))
        self.size = path.stat().st_size if path.exists() else 0
        if not (self.etag or self.length):
            self.size = 0  # without ETag or length it cannot be resumed

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return bool(self.size) and self.size == self.length

    def request_headers(self) -> dict[str, str]:
        """Headers that ask for the missing bytes, provided that the file on the server is still the same."""
        if not self.size:
            return {}
        condition = {"If-Range": self.etag} if self.etag.startswith('"') else {}
        return {"Range": f"bytes={self.size}-", **condition}

    def start(self, etag: str, length: int | None) -> None:
        """Make it empty, for the file with this ETag and length."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        _note_of(self.path).write_text(json.dumps([etag, length]), encoding="utf-8")
        self.etag, self.length, self.size = etag, length, 0

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
        etag, length = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return "", None
    return etag, length
