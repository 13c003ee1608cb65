"""A release brought into data/raw: rendered by the sample, fetched over HTTP, or linked from a folder, never copied.

Reads: a release folder, the data set's registry, or nothing. Writes: links to the release's files with its archives
unpacked where the reader wants that, rejects, and last of all a manifest with the size and sha256 of every file, so
that its presence means "complete". Params: sample, the data set's fetch and sample. Environment: where files are handed
out, and the keys for that (stages/acquisition/hosts.py).

A file that has not changed since it was hashed is not hashed again: the journal remembers it.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from stages.acquisition import digests, download, links, online, registry, rendered, subset, unpack
from stages.acquisition.digests import Memory
from stages.acquisition.listed_images import Picture
from stages.releases.readers import MANIFEST, Reject
from stages.runtime import command, plugins, tables
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text
from stages.runtime.params import FetchParams, SyntheticParams

log = logging.getLogger(__name__)

SECTIONS = {"settings": "dataset.{dataset}.synthetic", "fetch": "dataset.{dataset}.fetch"}


def run(
    dataset: str,
    *,
    out: Path,
    registries: Path = Path("data/registry"),
    journal: Path = Path(".journal"),
    synthetic: SyntheticParams,
    settings: Mapping[str, Any],
    fetch: FetchParams,
) -> None:
    """Make `out` hold exactly the release's files and their manifest.

    Raises:
        UserError: the release is missing or not complete, an archive is unsafe, or files cannot be linked.
    """
    work = journal / "fetch"
    memory = Memory(work / f"{dataset}.json")
    of_sample = fetch.source == "synthetic"
    release = rendered.release("fetch", dataset, journal, settings, synthetic.seed) if of_sample else Path(fetch.folder)
    links.check_apart(release, out)
    (out / MANIFEST).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    rejects: list[Reject] = []
    committed = registries / f"{dataset}.txt"
    chosen: list[str] = []
    if fetch.source == "http":
        chosen = _download(dataset, fetch, committed, work, memory)
    elif fetch.source == "folder":
        _check_known(dataset, committed, release, memory)
    files = _files(dataset, fetch, release, work, rejects)
    if chosen:
        files = subset.completed(files, chosen, work / f"{dataset}.subset")
    links.bring(files, out)
    names = sorted(files)
    hashes = digests.sha256_of_all({name: out / name for name in names}, memory, f"fetch {dataset}")
    table = tables.Rejects("fetch")
    for each in rejects:
        table.add(dataset, each.key, each.kind, each.detail)
    table.write(out / "rejects.parquet")
    replace_text(out / MANIFEST, _manifest(dataset, fetch.source, out, hashes))
    log.info("fetch %s: %d files, %d rejects", dataset, len(files), len(rejects))


def _download(dataset: str, fetch: FetchParams, committed: Path, work: Path, memory: Memory) -> list[str]:
    """Names of the parts that were chosen, if the user wants only some of a cut archive."""
    entries = online.entries(dataset, committed, os.environ, work)
    if (fetch.parts or fetch.identities) and not any(entry.is_part for entry in entries):
        raise UserError(
            f"dataset.{dataset}.fetch: parts and identities choose from an archive that is cut up, which {dataset} "
            "does not have: leave them out"
        )
    wanted = registry.first_parts(entries, fetch.parts)
    if fetch.identities:
        online.bring_identities(dataset, entries, fetch.identities, Path(fetch.folder), os.environ)
        wanted = [entry for entry in entries if not entry.is_part]
    online.bring(dataset, wanted, Path(fetch.folder), os.environ, memory)
    return [entry.name for entry in wanted if entry.is_part] if len(wanted) < len(entries) else []


def _files(dataset: str, fetch: FetchParams, release: Path, work: Path, rejects: list[Reject]) -> dict[str, Path]:
    """Every file that belongs into data/raw, by name; pictures that are listed by address are fetched on the way."""
    module = plugins.load("stages.datasets", dataset)
    wanted = f"put or link the {dataset} release there, expected {module.EXPECTED}; to be had from {module.OWNER}"
    found = links.files(release, rejects, wanted)
    if fetch.source == "http" and (listed := _listed(module, found)):
        rejects += online.bring_pictures(dataset, listed, release, os.environ, work)
        found = links.files(release, [], wanted)
    if getattr(module, "UNPACK_ARCHIVES", False):
        found = unpack.unpacked(found, work / f"{dataset}.unpacked", rejects)
    return found


def _listed(module: ModuleType, files: Mapping[str, Path]) -> list[Picture]:
    """Pictures that the release lists by address, if it is a release of that kind."""
    return [Picture(*listed) for listed in module.addresses(files)] if hasattr(module, "addresses") else []


def _check_known(dataset: str, committed: Path, release: Path, memory: Memory) -> None:
    """Compare the user's files with what their owners publish, and tell how many of those listed are there."""
    entries = registry.read(committed) if committed.exists() else []
    there = [entry for entry in entries if (release / entry.name).is_file()]
    if there:
        log.info("fetch %s: %s", dataset, online.covered(entries, release))
    for entry in download.needed(there, release, memory):
        raise UserError(
            f"{release / entry.name} is damaged or not the owner's: expected {entry.digest} "
            f"{f'and {entry.size} bytes' if entry.size else ''}, get it again"
        )


def _manifest(dataset: str, source: str, out: Path, hashes: Mapping[str, str]) -> str:
    files = [{"name": name, "size": (out / name).stat().st_size, "sha256": digest} for name, digest in hashes.items()]
    return json.dumps({"dataset": dataset, "source": source, "files": files}, indent=1) + "\n"


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
