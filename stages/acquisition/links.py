"""The files of a release folder, and links to them: nothing of a release is copied."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from stages.releases.readers import MANIFEST, Reject, printable
from stages.runtime.errors import UserError

OURS = {MANIFEST, "rejects.parquet"}


def check_apart(release: Path, out: Path) -> None:
    """Neither of the two folders lies in the other.

    Raises:
        UserError: one does.
    """
    one, other = release.resolve(), out.resolve()
    if out.is_symlink() or one == other or one in other.parents or other in one.parents:
        raise UserError(f"{out} should be a folder of its own, apart from the release in {release}: move one of them")


def files(release: Path, rejects: list[Reject], wanted: str) -> dict[str, Path]:
    """Name within the release -> the file itself; what cannot be read goes to `rejects`.

    Raises:
        UserError: no such folder, or no file in it; `wanted` tells what belongs there.
    """
    if not release.is_dir():
        raise UserError(f"{release} is no folder: {wanted}")
    found: dict[str, Path] = {}
    for path in _walk(release, set()):
        name = path.relative_to(release).as_posix()
        if name in OURS:
            continue
        if not path.is_file():
            rejects.append(Reject(printable(name), "unreadable file", "a link that leads nowhere, or no regular file"))
        elif printable(name) != name:
            rejects.append(Reject(printable(name), "unreadable name", "not UTF-8"))
        else:
            found[name] = path.resolve()
    if not found:
        raise UserError(f"{release} is empty: {wanted}")
    return found


def bring(found: Mapping[str, Path], out: Path) -> None:
    """Link every file into `out`, and remove what the release no longer holds.

    Raises:
        UserError: neither hard nor symbolic links can be made.
    """
    for path in sorted(out.rglob("*"), reverse=True):  # what lies in a folder comes before the folder
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or not path.is_dir():
            if name not in found and name not in OURS:
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    for name, source in found.items():
        target = out / name
        if not (target.exists() and target.samefile(source)):
            _link(source, target)


def _walk(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Everything in `folder` that is no folder, hidden names left out; links to folders are followed, loops are not."""
    here = folder.resolve()
    if here in above:
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, above | {here})
        else:
            yield path


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system allows it, else a symbolic link."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        try:
            target.symlink_to(source)
        except OSError as error:
            raise UserError(f"{source} cannot be linked to {target} ({error}): move the release or data/raw") from None
