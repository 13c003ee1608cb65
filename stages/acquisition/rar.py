"""RAR archives in one or more volumes: listed here, unpacked by whichever program is installed.

No free library unpacks RAR. The list of members is read first, so that nothing unsafe reaches the program, and what
came out is compared with it afterwards.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rarfile

from stages.releases.readers import inside
from stages.runtime.errors import Rejected, UserError

PROGRAMS = {  # program -> its command; the first that is installed and works is used
    "unrar": ("unrar", "x", "-o+", "-p-", "-idq", "--", "{first}", "{folder}/"),
    "7zz": ("7zz", "x", "-y", "-p-", "-bd", "-o{folder}", "{first}"),
    "7z": ("7z", "x", "-y", "-p-", "-bd", "-o{folder}", "{first}"),
    "unar": ("unar", "-q", "-f", "-D", "-o", "{folder}", "{first}"),
    "bsdtar": ("bsdtar", "-x", "-f", "{first}", "-C", "{folder}"),
}
SINGLE_VOLUME = {"bsdtar"}


class Member(NamedTuple):
    """One entry of an archive that is no folder."""

    name: str
    size: int  # bytes
    is_file: bool  # and no link


def members(paths: Sequence[Path]) -> list[Member]:
    """Everything in the archive but folders.

    Raises:
        UserError: no RAR, damaged, encrypted, or a volume is missing at its end.
    """
    try:
        with rarfile.RarFile(str(paths[0]), errors="strict") as archive:
            listed: list[Any] = [info for info in archive.infolist() if not info.is_dir()]
            used = archive.volumelist()
            if archive.needs_password():
                raise UserError(f"{paths[0]} is encrypted: unpack it yourself and put its content beside it")
    except (rarfile.Error, OSError, ValueError) as error:
        raise UserError(
            f"{paths[0]} is no whole RAR archive ({_clause(error)}): put all of its volumes there"
        ) from None
    if len(used) != len(paths):
        raise UserError(f"{paths[0]} should have {len(used)} volumes, found {len(paths)}: put all of them there")
    return [Member(info.filename, info.file_size, info.is_file()) for info in listed]


def extract(paths: Sequence[Path], listed: Sequence[Member], folder: Path) -> None:
    """Unpack into the empty `folder`.

    Raises:
        UserError: no program that can, or none that succeeds.
        Rejected: something else came out than was listed.
    """
    able = [name for name in PROGRAMS if shutil.which(name) and not (len(paths) > 1 and name in SINGLE_VOLUME)]
    if not able:
        raise UserError(
            f"{paths[0]} needs a program to be unpacked: install unrar, 7z or unar, or unpack it yourself and put its "
            "content beside it"
        )
    for program in able:
        if _run(program, paths[0], folder):
            _compare(listed, folder)
            return
        shutil.rmtree(folder)
        folder.mkdir()
    raise UserError(f"{paths[0]} cannot be unpacked by {', '.join(able)}: fetch it again, or unpack it yourself")


def _run(program: str, first: Path, folder: Path) -> bool:
    command = [word.format(first=first.resolve(), folder=folder.resolve()) for word in PROGRAMS[program]]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _compare(listed: Sequence[Member], folder: Path) -> None:
    expected = {inside(member.name): member.size for member in listed}
    there: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise Rejected(f"{path.name} is a link")
        if path.is_file():
            there[path.relative_to(folder).as_posix()] = path.stat().st_size
    if there != expected:
        name = min(name for name in {*there, *expected} if there.get(name) != expected.get(name))
        raise Rejected(f"{name} does not come out as it is listed")


def _clause(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
