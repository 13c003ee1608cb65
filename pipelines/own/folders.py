"""The images and videos in a folder, and what else lies there."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stages.releases.strangers import is_stranger


@dataclass
class Contents:
    """What a folder holds, with its sub-folders and linked folders; each of them once, however many links lead there.

    A sub-folder that cannot be read and a link that leads nowhere are among `files`: they are rejects when they are
    read.
    """

    files: list[Path] = field(default_factory=list[Path])  # with one of the suffixes, sorted by path
    passed_over: Counter[str] = field(default_factory=Counter[str])  # other files, by suffix
    left_aside: int = 0  # files and folders that are strangers: hidden, thumbnails, READMEs

    def others(self) -> str:
        """What is not in `files`, in words; empty if there is nothing else."""
        by_suffix = [f"{count} x {suffix or 'no suffix'}" for suffix, count in sorted(self.passed_over.items())]
        parts = [f"{self.passed_over.total()} passed over ({', '.join(by_suffix)})"] if by_suffix else []
        if self.left_aside:
            parts.append(f"{self.left_aside} left aside (hidden, thumbnails, READMEs)")
        return ", ".join(parts)


def contents(folder: Path, suffixes: Collection[str]) -> Contents:
    """All files below `folder` that end in one of the suffixes (in small letters), and a count of the others."""
    found = Contents()
    for path in _below(folder, found, set()):
        if path.suffix.lower() in suffixes or not os.path.isfile(path):  # noqa: PTH113  as below
            found.files.append(path)
        else:
            found.passed_over[path.suffix.lower()] += 1
    found.files.sort()
    return found


def _below(folder: Path, found: Contents, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """The files; `seen`: device and number of the folders that were read, so that no circle of links is followed."""
    try:
        status = folder.stat()
        paths = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    if (key := (status.st_dev, status.st_ino)) in seen:
        return
    seen.add(key)
    for path in paths:
        is_folder = os.path.isdir(path)  # noqa: PTH112  False where the system refuses to tell; Path raises
        if is_stranger(f"{path.name}/" if is_folder else path.name):
            found.left_aside += 1
        elif is_folder:
            yield from _below(path, found, seen)
        else:
            yield path
