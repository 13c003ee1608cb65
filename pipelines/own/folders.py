"""The images and videos in a folder, and what else lies there."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Copies and thumbnails that programs keep beside the pictures of a person; names with a dot in front are left out too.
KEPT_BY_PROGRAMS = frozenset(
    {"@eadir", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot", "$recycle.bin", "__macosx"}
    | {"thumbs.db", "ehthumbs.db", "desktop.ini", "system volume information", "lost+found"}
)


@dataclass
class Contents:
    """What a folder holds, with its sub-folders and linked folders; each of them once, however many links lead there.

    A sub-folder that cannot be read and a link that leads nowhere are among `files`: they are rejects when they are
    read.
    """

    files: list[Path] = field(default_factory=list[Path])  # with one of the suffixes, sorted by path
    passed_over: Counter[str] = field(default_factory=Counter[str])  # other files, by suffix
    left_out: int = 0  # files and folders that are hidden or kept by programs

    def others(self) -> str:
        """What is not in `files`, in words; empty if there is nothing else."""
        by_suffix = [f"{count} x {suffix or 'no suffix'}" for suffix, count in sorted(self.passed_over.items())]
        parts = [f"{self.passed_over.total()} passed over ({', '.join(by_suffix)})"] if by_suffix else []
        return ", ".join([*parts, *([f"{self.left_out} hidden or kept by programs"] if self.left_out else [])])


def contents(folder: Path, suffixes: Collection[str]) -> Contents:
    """All files below `folder` that end in one of the suffixes (in small letters), and a count of the others."""
    found = Contents()
    for path in _below(folder, found, set()):
        if path.suffix.lower() in suffixes or not path.is_file():
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
        if path.name.startswith(".") or path.name.lower() in KEPT_BY_PROGRAMS:
            found.left_out += 1
        elif path.is_dir():
            yield from _below(path, found, seen)
        else:
            yield path
