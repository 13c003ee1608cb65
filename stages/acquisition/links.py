"""List the files of a release folder and link them elsewhere: nothing of a release is copied."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from stages.releases.readers import MANIFEST, Reject, printable
from stages.releases.strangers import is_stranger
from stages.runtime.errors import UserError

NOT_RELEASED = {MANIFEST, "rejects.parquet"}  # written by `fetch`


def check_apart(release: Path, out: Path) -> None:
    """Check that neither folder contains the other.

    Raises:
        UserError: one does.
    """
    source, target = release.resolve(), out.resolve()
    if out.is_symlink() or source == target or source in target.parents or target in source.parents:
        raise UserError(f"{out} should be a folder of its own, apart from the release in {release}: move one of them")


def request(dataset: str, module: ModuleType) -> str:
    """What to do about a release that is not there; `module` is the data set's reader."""
    return f"put or link the {dataset} release there, expected {module.EXPECTED}; available from {module.OWNER}"


def absent(release: Path, request: str) -> UserError:
    """A release folder without a file, or no folder; `request` says what to put there."""
    return UserError(f"{release} {'is empty' if release.is_dir() else 'is not a folder'}: {request}")


def files(release: Path, rejects: list[Reject], request: str) -> dict[str, Path]:
    """Name within the release -> path of the file; what cannot be read is added to `rejects`.

    Raises:
        UserError: no such folder, or no file in it; `request` says what to put there.
    """
    if not release.is_dir():
        raise absent(release, request)
    paths: dict[str, Path] = {}
    for path in walk(release, set()):
        name = path.relative_to(release).as_posix()
        if name in NOT_RELEASED:
            continue
        if not path.is_file():
            rejects.append(Reject(printable(name), "unreadable file", "a broken link, or not a regular file"))
        elif printable(name) != name:
            rejects.append(Reject(printable(name), "unreadable name", "not UTF-8"))
        else:
            paths[name] = path.resolve()
    if not paths:
        raise absent(release, request)
    return paths


def link(files: Mapping[str, Path], out: Path) -> None:
    """Link every file into `out`, and remove other files from it.

    Raises:
        UserError: neither hard nor symbolic links can be made.
    """
    for path in sorted(out.rglob("*"), reverse=True):  # the contents of a folder come before the folder
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or not path.is_dir():
            if name not in files and name not in NOT_RELEASED:
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    for name, source in files.items():
        target = out / name
        if not (target.exists() and target.samefile(source)):
            _link(source, target)


def walk(folder: Path, parents: set[Path]) -> Iterator[Path]:
    """Everything in `folder` except folders and strangers; links to folders are followed, loops are not."""
    resolved = folder.resolve()
    if resolved in parents:
        return
    for path in sorted(folder.iterdir()):
        if is_stranger(f"{path.name}/" if path.is_dir() else path.name):
            continue
        if path.is_dir():
            yield from walk(path, parents | {resolved})
        else:
            yield path


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system allows it, otherwise a symbolic link."""
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
