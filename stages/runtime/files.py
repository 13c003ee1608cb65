"""Digest and identity of files, and writes that leave the whole file or nothing."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = 2**20

Identity = list[int]  # size, modification time in ns, inode: changes when a file's content is changed


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of the whole file."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def file_identity(path: Path) -> Identity:
    """Values that change when the file changes; the file is not read."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def replace_text(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    """Write the file whole or not at all."""
    with whole(path) as partial:
        partial.write_bytes(data)


@contextmanager
def whole(path: Path) -> Generator[Path, None, None]:
    """The path to write to, beside `path`; the file moves to `path` when the block ends and is removed if it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
