"""Digests of files; a file that has not changed since it was hashed is not read again."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stages.runtime import progress, workers
from stages.runtime.files import Identity, file_digest, file_identity, replace_text


class Memory:
    """Digests by name, kept in a file of a journal beside what tells whether the file has changed since.

    Safe to use from several threads; nothing is written before `save`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)

    def digest(self, name: str, file: Path, algorithm: str = "sha256") -> str:
        """Hexadecimal digest of the file that is called `name`; `algorithm` as hashlib calls it."""
        now = file_identity(file)
        then, found = self._known.get(name, (now, {}))
        if then != now:
            found = {}
        if algorithm not in found:
            found = {**found, algorithm: file_digest(file, algorithm)}
            self._known[name] = now, found
        return found[algorithm]

    def has(self, name: str, file: Path, algorithm: str = "sha256") -> bool:
        """Whether `digest` would answer without reading the file."""
        then, found = self._known.get(name, (None, {}))
        return algorithm in found and then == file_identity(file)

    def save(self) -> None:
        """Remember beyond this run."""
        replace_text(self._path, json.dumps(self._known, sort_keys=True))


def sha256_of_all(files: Mapping[str, Path], memory: Memory, label: str) -> dict[str, str]:
    """Name -> sha256, in the order of `files`; those that memory does not know are read, one per core."""
    missing = [name for name, file in files.items() if not memory.has(name, file)]
    if missing:
        with ThreadPoolExecutor(workers.available()) as pool:
            hashed = pool.map(lambda name: memory.digest(name, files[name]), missing)
            _exhaust(progress.track(hashed, len(missing), label, "files"))
        memory.save()
    return {name: memory.digest(name, file) for name, file in files.items()}


def _read(memory: Path) -> dict[str, tuple[Identity, dict[str, str]]]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        return {name: (then, dict(found)) for name, (then, found) in known.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass
