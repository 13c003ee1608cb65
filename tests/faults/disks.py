"""Disks that are full, read-only, broken or without links; most of them are mounted, which root may on Linux."""

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 48 * 2**20
BLOCK = 4096
LOST = 24 * 2**20  # from here on a broken disk cannot be read
SPARE = 1000  # blocks before its end, to which the files are moved that cannot be read
PLAIN = "^extent,^64bit,^has_journal,^metadata_csum"  # an ext4 whose inodes name their blocks one by one

LINKS = {"x86_64": (86, 88, 265, 266), "aarch64": (36, 37)}  # numbers of link, symlink, linkat, symlinkat
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2  # of <sys/prctl.h> and <linux/seccomp.h>
_LOAD, _IS_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of <linux/bpf_common.h>
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # 1: EPERM, as vfat says it
_CAPABILITIES = 0x20080522  # version of the two calls
_OVERRIDES = (1, 2, 3)  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER of <linux/capability.h>


def refused() -> str:
    """Why no disk can be mounted here; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return "only root can mount disks, on Linux with e2fsprogs"
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True)
    return done.stderr.decode().strip()


@contextmanager
def mounted(place: Path, image: Path | None = None) -> Iterator[Path]:
    """A disk at `place`: that of an image, or one in memory."""
    place.mkdir(exist_ok=True)
    kind = ("-o", "loop", str(image)) if image else ("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs")
    _command("mount", *kind, str(place))
    try:
        yield place
    finally:
        if subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode:
            _command("umount", "--lazy", str(place))  # a process that was stopped still works there


def make_image(image: Path, *features: str) -> Path:
    """An empty ext4."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(SIZE)
    _command("mkfs.ext4", "-q", "-F", "-b", str(BLOCK), *features, str(image))
    return image


def set_writable(place: Path, *, is_writable: bool) -> None:
    _command("mount", "-o", "remount,rw" if is_writable else "remount,ro", str(place))


@contextmanager
def full(place: Path, free_bytes: int) -> Iterator[None]:
    """The disk at `place` with no more room than that."""
    filler = place / "filler"
    status = os.statvfs(place)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(BLOCK, status.f_bavail * status.f_frsize - free_bytes))
    try:
        yield
    finally:
        filler.unlink()


def move_out_of_reach(image: Path, file: str) -> None:
    """Have the blocks of a file lie where a broken disk cannot be read; see `broken`.

    An inode names its first twelve blocks, and with IND the block that names the next ones.
    """
    first = SIZE // BLOCK - SPARE
    names = [*map(str, range(12)), "IND"]
    orders = "".join(f"sif {file} block[{name}] {first + number}\n" for number, name in enumerate(names))
    subprocess.run(["debugfs", "-w", "-f", "-", str(image)], input=orders, text=True, check=True, capture_output=True)


@contextmanager
def broken(place: Path, image: Path) -> Iterator[Path]:
    """The disk of an image, whose second half gives EIO; the image is of no use afterwards."""
    with mounted(place, image):
        os.truncate(image, LOST)
        Path("/proc/sys/vm/drop_caches").write_text("1", encoding="ascii")
        yield place


def without_links() -> None:
    """From now on the system refuses this process hard and symbolic links, as vfat does."""
    numbers = LINKS[os.uname().machine]
    steps = [(_LOAD, 0, 0, 0)]
    steps += [(_IS_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, program, 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")


def as_anyone() -> None:
    """From now on permissions hold for this process, even if it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITIES, 0))
    data = ctypes.create_string_buffer(24)
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    effective, *others = struct.unpack("6I", data.raw)
    for number in _OVERRIDES:
        effective &= ~(1 << number)
    if libc.capset(header, struct.pack("6I", effective, *others)):
        raise OSError(ctypes.get_errno(), "capset")


def _command(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True)
