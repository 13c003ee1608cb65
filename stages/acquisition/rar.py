"""List and unpack RAR archives of one or more volumes, with whichever program is installed.

No free library unpacks RAR. The members are listed first, so that no unsafe archive reaches the program; afterwards the
unpacked files are compared with the list.
"""

import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rarfile

from stages.releases.archives import is_damage
from stages.releases.readers import safe_path
from stages.runtime import bounded, starter
from stages.runtime.errors import Rejected, UserError

PROGRAMS = {  # program -> its command; the first that is installed and works is used
    "unrar": ("unrar", "x", "-o+", "-p-", "-idq", "--", "{first}", "{folder}/"),
    "7zz": ("7zz", "x", "-y", "-p-", "-bd", "-o{folder}", "{first}"),
    "7z": ("7z", "x", "-y", "-p-", "-bd", "-o{folder}", "{first}"),
    "unar": ("unar", "-q", "-f", "-D", "-o", "{folder}", "{first}"),
    "bsdtar": ("bsdtar", "-x", "-f", "{first}", "-C", "{folder}"),
}
SINGLE_VOLUME = {"bsdtar"}
_LEAST_BYTES_PER_S, _LEAST_S = 1_000_000, 60  # of a program's computing: the slowest unpacks 5 MB a second


class Member(NamedTuple):
    """One entry of an archive that is not a folder."""

    name: str
    size: int  # bytes
    is_file: bool  # a regular file, not a link


def members(paths: Sequence[Path]) -> list[Member]:
    """All members of the archive except folders.

    Raises:
        UserError: not a RAR archive, damaged, encrypted, or its last volumes are missing.
    """
    try:
        with rarfile.RarFile(str(paths[0]), errors="strict") as archive:
            listed: list[Any] = [info for info in archive.infolist() if not info.is_dir()]
            used = archive.volumelist()
            if archive.needs_password():
                raise UserError(f"{paths[0]} is encrypted: unpack it yourself and put its contents beside it")
    except Exception as error:
        if not (isinstance(error, (rarfile.Error, OSError)) or is_damage(error)):
            raise
        raise UserError(
            f"{paths[0]} is not a whole RAR archive ({_first_line(error)}): put all its volumes there"
        ) from None
    if len(used) != len(paths):
        raise UserError(f"{paths[0]} should have {len(used)} volumes, found {len(paths)}: put all of them there")
    return [Member(info.filename, info.file_size, info.is_file()) for info in listed]


def extract(paths: Sequence[Path], listed: Sequence[Member], folder: Path) -> None:
    """Unpack into the empty `folder`.

    Raises:
        UserError: no suitable program is installed, or none succeeds.
        Rejected: the unpacked files differ from the list.
    """
    programs = [name for name in PROGRAMS if shutil.which(name) and not (len(paths) > 1 and name in SINGLE_VOLUME)]
    if not programs:
        raise UserError(
            f"{paths[0]} needs a program to be unpacked: install unrar, 7z or unar, or unpack it yourself and put its "
            "contents beside it"
        )
    for program in programs:
        if _run(program, paths[0], folder, listed):
            _compare(listed, folder)
            return
        shutil.rmtree(folder)
        folder.mkdir()
    raise UserError(f"{paths[0]} cannot be unpacked by {', '.join(programs)}: download it again, or unpack it yourself")


def _run(program: str, first: Path, folder: Path, listed: Sequence[Member]) -> bool:
    """Whether the program has unpacked them, in limited time; no file may be larger than the largest on the list."""
    sizes = [member.size for member in listed]
    most_bytes, most_s = max(sizes, default=0), _LEAST_S + sum(sizes) // _LEAST_BYTES_PER_S

    def limit() -> None:
        starter.kill_with_parent()  # it would unpack beside the next run
        bounded.limit(resource.RLIMIT_FSIZE, most_bytes)
        bounded.limit(resource.RLIMIT_CPU, most_s)

    command = [word.format(first=first.resolve(), folder=folder.resolve()) for word in PROGRAMS[program]]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, preexec_fn=limit)
    return done.returncode == 0


def _compare(listed: Sequence[Member], folder: Path) -> None:
    expected = {safe_path(member.name): member.size for member in listed}
    unpacked: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise Rejected(f"{path.name} is a link")
        if path.is_file():
            unpacked[path.relative_to(folder).as_posix()] = path.stat().st_size
    if unpacked != expected:
        name = min(name for name in {*unpacked, *expected} if unpacked.get(name) != expected.get(name))
        raise Rejected(f"{name} differs from the list of its archive")


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
