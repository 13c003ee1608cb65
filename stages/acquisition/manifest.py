"""The manifest of a release in data/raw: size and sha256 of every file. It is written last, so it means "complete"."""

import json
from collections.abc import Mapping
from pathlib import Path

from stages.releases.readers import MANIFEST


def text(dataset: str, source: str, out: Path, hashes: Mapping[str, str]) -> str:
    """The manifest of the files in `out` with the given digests, by name."""
    files = [{"name": name, "size": (out / name).stat().st_size, "sha256": digest} for name, digest in hashes.items()]
    return json.dumps({"dataset": dataset, "source": source, "files": files}, indent=1) + "\n"


def is_whole(raw: Path, source: str) -> bool:
    """Whether `raw` holds a release from `source` with all its files; their content is not read."""
    try:
        manifest = json.loads((raw / MANIFEST).read_bytes())
        sizes = {raw / entry["name"]: entry["size"] for entry in manifest["files"]}
        return manifest["source"] == source and all(path.stat().st_size == size for path, size in sizes.items())
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False
