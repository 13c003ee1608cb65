"""The files of a release: `registries/<dataset>.txt`, one per line, and how many of them are present.

A line has four words: name, size in bytes, digest as `<algorithm>:<hex>`, and the host that the file is downloaded from
(see stages/acquisition/hosts.py). `-` is a size or digest that the owner does not publish: it is recorded when the file
is first downloaded, and checked from then on. Special characters in a name are written as in a URL (a blank is `%20`).
`#` starts a comment.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from stages.releases.readers import printable, safe_path
from stages.runtime.errors import Rejected, UserError

FOLDER = Path(__file__).with_name("registries")
UNKNOWN = "-"
MAX_FILES = 500_000  # lines; the largest release, unpacked, has 450,000 files
_SIZE = re.compile(r"[0-9]{1,18}")
_DIGESTS = {"md5": 32, "sha1": 40, "sha256": 64}  # algorithm -> hexadecimal digits
_DIGEST = re.compile("|".join(f"{name}:[0-9a-f]{{{digits}}}" for name, digits in _DIGESTS.items()))
_HOST = re.compile(r"[A-Z][A-Z0-9_]*")
_PART = re.compile(r".+_part[a-z]{2}")
_GB = 1e9


@dataclass(frozen=True)
class Entry:
    """One file of a release."""

    name: str  # relative path within the release
    size: int | None  # bytes; None if neither published nor recorded
    digest: str  # `<algorithm>:<hex>`; empty if neither published nor recorded
    host: str

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a multi-part archive."""
        return is_part(self.name)

    def line(self) -> str:
        """The entry as a line of a registry."""
        return f"{quote(self.name)} {UNKNOWN if self.size is None else self.size} {self.digest or UNKNOWN} {self.host}"


def is_part(name: str) -> bool:
    """Whether a file of that name is a part of a multi-part archive."""
    return _PART.fullmatch(name) is not None


def read(path: Path) -> list[Entry]:
    """Entries in the order of the file.

    Raises:
        UserError: no such file, or a malformed line, with file and line number.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: it lists the files of the release, restore it") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} should be UTF-8 text with one file per line, found other bytes") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> list[Entry]:
    """Entries of a registry's text; error messages name `where` it comes from.

    Raises:
        UserError: a line is malformed, names a file a second time, or there are more than MAX_FILES.
    """
    entries: dict[str, Entry] = {}
    lines = text.splitlines()
    if len(lines) > MAX_FILES:
        raise UserError(f"{where} should list at most {MAX_FILES} files, one per line, found {len(lines)} lines")
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            entry = _entry(words)
            if entry.name in entries:
                raise Rejected(f"{entry.name} is listed twice")
        except Rejected as error:
            raise UserError(f"{where}, line {number}: {error}, found {printable(line.strip())[:120]!r}") from None
        entries[entry.name] = entry
    return list(entries.values())


def fill_in(entries: Iterable[Entry], recorded: Iterable[Entry]) -> list[Entry]:
    """`entries`, with unknown sizes and digests taken from `recorded`."""
    by_name = {entry.name: entry for entry in recorded}
    return [
        replace(
            entry,
            size=by_name[entry.name].size if entry.size is None else entry.size,
            digest=entry.digest or by_name[entry.name].digest,
        )
        if entry.name in by_name
        else entry
        for entry in entries
    ]


def first_parts(entries: Sequence[Entry], count: int) -> list[Entry]:
    """`entries` with only the first `count` parts of the multi-part archive; 0 keeps all."""
    dropped = {entry.name for entry in [entry for entry in entries if entry.is_part][count:]} if count else set[str]()
    return [entry for entry in entries if entry.name not in dropped]


def coverage(entries: Sequence[Entry], present: Mapping[str, int]) -> str:
    """One line such as `7 of 9 parts, 212 of 249 GB, 3 of 3 other files`; `present`: name -> bytes of each file found.

    Sizes are left out if one of them is unknown.
    """
    parts = [entry for entry in entries if entry.is_part]
    files = [entry for entry in entries if not entry.is_part]
    texts = [_coverage(parts, present, "parts")] if parts else []
    if files or not parts:
        texts.append(_coverage(files, present, "other files" if parts else "files"))
    return ", ".join(texts)


def _coverage(entries: Sequence[Entry], present: Mapping[str, int], unit: str) -> str:
    found = [entry for entry in entries if entry.name in present]
    text = f"{len(found)} of {len(entries)} {unit}"
    sizes = [present.get(entry.name, entry.size) for entry in entries]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes) or sum(known) < _GB:
        return text
    return f"{text}, {sum(present[entry.name] for entry in found) / _GB:.0f} of {sum(known) / _GB:.0f} GB"


def _entry(words: list[str]) -> Entry:
    if len(words) != 4:
        raise Rejected("expected name, size, digest and host")
    name, size, digest, host = words
    if size != UNKNOWN and not _SIZE.fullmatch(size):
        raise Rejected("expected a size in bytes or -")
    if digest != UNKNOWN and not _DIGEST.fullmatch(digest):
        raise Rejected(f"expected a digest such as {', '.join(f'{name}:...' for name in _DIGESTS)} or -")
    if not _HOST.fullmatch(host):
        raise Rejected("expected a host in capital letters")
    return Entry(
        safe_path(unquote(name)), None if size == UNKNOWN else int(size), "" if digest == UNKNOWN else digest, host
    )
