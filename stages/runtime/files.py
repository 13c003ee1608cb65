"""Digest and identity of files, and writes that leave the whole file or nothing, also after a power cut."""

import errno
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

DISK_FAILS = (errno.EIO, errno.ESTALE, errno.ENXIO)  # the disk, whatever the file holds
_CHUNK = 2**20
# File systems that cannot be told to keep something; EACCES: a folder that may be written but not listed.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF)

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


def read_through(path: Path) -> None:
    """Read a file once, before a library maps it into memory: where a disk fails, a map ends the process by a signal.

    What else may be wrong with the file is told by who reads it next.

    Raises:
        OSError: the disk fails.
    """
    try:
        with path.open("rb") as file:
            while file.read(_CHUNK):
                pass
    except OSError as error:
        if error.errno in DISK_FAILS:
            raise OSError(error.errno, error.strerror, str(path)) from None


def replace_text(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    """Write the file whole or not at all."""
    with whole(path) as partial:
        partial.write_bytes(data)


@contextmanager
def whole(path: Path) -> Generator[Path, None, None]:
    """The path to write to, beside `path`; the file moves to `path` when the block ends and is removed if it raises.

    It is on the disk before it moves: a power cut leaves the file that was there, or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the disk keep what a file holds now, or the names in a folder."""
    try:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_all(folder: Path) -> None:
    """Have the disk keep a folder with all that is in it."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            sync(path)
    sync(folder)
