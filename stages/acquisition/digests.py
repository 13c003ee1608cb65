"""Digests of files; a file that has not changed since it was hashed is not read again."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stages.runtime import progress, workers
from stages.runtime.files import Identity, file_digest, file_identity, replace_text


class DigestCache:
    """Digests by name, saved in a JSON file with size, time and inode of each file that was hashed.

    Safe to use from several threads; nothing is written before `save`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = _read(path)

    def digest(self, name: str, file: Path, algorithm: str = "sha256") -> str:
        """Hexadecimal digest of the file that is called `name`; `algorithm` as hashlib calls it."""
        identity = file_identity(file)
        cached_identity, digests = self._entries.get(name, (identity, {}))
        if cached_identity != identity:
            digests = {}
        if algorithm not in digests:
            digests = {**digests, algorithm: file_digest(file, algorithm)}
            self._entries[name] = identity, digests
        return digests[algorithm]

    def has(self, name: str, file: Path, algorithm: str = "sha256") -> bool:
        """Whether `digest` would return without reading the file."""
        identity, digests = self._entries.get(name, (None, {}))
        return algorithm in digests and identity == file_identity(file)

    def save(self) -> None:
        """Write the cache, for later runs."""
        replace_text(self._path, json.dumps(self._entries, sort_keys=True))


def sha256_of_all(files: Mapping[str, Path], cache: DigestCache, label: str) -> dict[str, str]:
    """Name -> sha256, in the order of `files`; files that are not in the cache are hashed, one per core."""
    missing = [name for name, file in files.items() if not cache.has(name, file)]
    if missing:
        with ThreadPoolExecutor(workers.available()) as pool:
            hashed = pool.map(lambda name: cache.digest(name, files[name]), missing)
            for _ in progress.track(hashed, len(missing), label, "files"):
                pass
        cache.save()
    return {name: cache.digest(name, file) for name, file in files.items()}


def _read(path: Path) -> dict[str, tuple[Identity, dict[str, str]]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {name: (identity, dict(digests)) for name, (identity, digests) in entries.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
