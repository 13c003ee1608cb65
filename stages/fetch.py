"""Put a release into data/raw: synthetic, downloaded, or from a folder; files are linked, never copied.

Reads: a release folder, the data set's registry, or nothing. Writes: links to the release's files, with archives
unpacked where the reader asks for it, rejects, and last a manifest with the size and sha256 of every file, so that its
presence means "complete". Environment: download URLs and credentials (stages/acquisition/hosts.py).

A file whose size, time and inode are those of when it was hashed is not hashed again: a byte that the disk has changed
under them is found by `--verify`, which reads everything.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from stages.acquisition import digests, download, links, manifest, online, registry, rendered, subset, unpack
from stages.acquisition.digests import DigestCache
from stages.acquisition.listed_images import ListedImage
from stages.releases.readers import MANIFEST, Reject
from stages.runtime import command, outputs, plugins, tables
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text
from stages.runtime.params import FetchParams, SyntheticParams

log = logging.getLogger(__name__)

SECTIONS = {"settings": "dataset.{dataset}.synthetic", "fetch": "dataset.{dataset}.fetch"}


def run(
    dataset: str,
    *,
    out: Path,
    registries: Path = registry.FOLDER,
    journal: Path = Path(".journal"),
    verify: bool = False,
    synthetic: SyntheticParams,
    settings: Mapping[str, Any],
    fetch: FetchParams,
) -> None:
    """Fill `out` with exactly the release's files and their manifest; with `verify`, every file is read.

    Raises:
        UserError: the release is missing or not complete, an archive is unsafe, files cannot be linked, or another run
            fetches the same release.
    """
    work, release = journal / "fetch", Path(fetch.folder)
    with ExitStack() as locks:
        locks.enter_context(outputs.alone(work / f"{dataset}.lock", f"{work}/{dataset}"))
        if fetch.source == "http":  # other projects may download into the same folder
            locks.enter_context(outputs.alone(release / outputs.LOCK, str(release)))
        if verify:
            (work / f"{dataset}.json").unlink(missing_ok=True)
        _fetch(dataset, release, out, registries, journal, synthetic=synthetic, settings=settings, fetch=fetch)


def _fetch(
    dataset: str,
    release: Path,
    out: Path,
    registries: Path,
    journal: Path,
    *,
    synthetic: SyntheticParams,
    settings: Mapping[str, Any],
    fetch: FetchParams,
) -> None:
    work = journal / "fetch"
    cache = DigestCache(work / f"{dataset}.json")
    if fetch.source == "synthetic":
        release = rendered.release("fetch", dataset, journal, settings, synthetic.seed)
    links.check_apart(release, out)
    (out / MANIFEST).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    rejects: list[Reject] = []
    committed = registries / f"{dataset}.txt"
    parts: list[str] = []
    if fetch.source == "http":
        parts = _download(dataset, fetch, committed, work, cache)
    elif fetch.source == "folder":
        _check_published(dataset, committed, release, cache)
    files = _files(dataset, fetch, release, work, rejects)
    if parts:
        files = subset.with_directory(files, parts, work / f"{dataset}.subset")
    links.link(files, out)
    names = sorted(files)
    hashes = digests.sha256_of_all({name: out / name for name in names}, cache, f"fetch {dataset}")
    table = tables.Rejects("fetch")
    for reject in rejects:
        table.add(dataset, reject.key, reject.kind, reject.detail)
    table.write(out / "rejects.parquet")
    replace_text(out / MANIFEST, manifest.text(dataset, fetch.source, out, hashes))
    log.info("fetch %s: %d files, %d rejects", dataset, len(files), len(rejects))


def _download(dataset: str, fetch: FetchParams, committed: Path, work: Path, cache: DigestCache) -> list[str]:
    """Names of the parts of an archive that were downloaded, if the user wants only some of them."""
    entries = online.entries(dataset, committed, os.environ, work)
    if (fetch.parts or fetch.identities) and not any(entry.is_part for entry in entries):
        raise UserError(
            f"dataset.{dataset}.fetch: parts and identities select from a multi-part archive, which {dataset} does not "
            "have: leave them out"
        )
    wanted = registry.first_parts(entries, fetch.parts)
    if fetch.identities:
        online.download_identities(dataset, entries, fetch.identities, Path(fetch.folder), os.environ)
        wanted = [entry for entry in entries if not entry.is_part]
    online.download_files(dataset, wanted, Path(fetch.folder), os.environ, cache)
    return [entry.name for entry in wanted if entry.is_part] if len(wanted) < len(entries) else []


def _files(dataset: str, fetch: FetchParams, release: Path, work: Path, rejects: list[Reject]) -> dict[str, Path]:
    """Every file that belongs into data/raw, by name; images that are listed by URL are downloaded first."""
    module = plugins.load("stages.datasets", dataset)
    request = links.request(dataset, module)
    files = links.files(release, rejects, request)
    if fetch.source == "http" and (images := _listed_images(module, files)):
        rejects += online.download_images(dataset, images, release, os.environ, work)
        files = links.files(release, [], request)
    if getattr(module, "UNPACK_ARCHIVES", False):
        files = unpack.unpack(files, work / f"{dataset}.unpacked", rejects)
    return files


def _listed_images(module: ModuleType, files: Mapping[str, Path]) -> list[ListedImage]:
    """Images that the release lists by URL; none for most data sets."""
    return [ListedImage(*image) for image in module.image_urls(files)] if hasattr(module, "image_urls") else []


def _check_published(dataset: str, committed: Path, release: Path, cache: DigestCache) -> None:
    """Compare the user's files with the published sizes and digests, and log how many of the listed files exist."""
    entries = registry.read(committed) if committed.exists() else []
    present = [entry for entry in entries if (release / entry.name).is_file()]
    if present:
        log.info("fetch %s: %s", dataset, online.coverage(entries, release))
    for entry in download.needed(present, release, cache):
        raise UserError(
            f"{release / entry.name} is damaged or not the owner's: expected {entry.digest} "
            f"{f'and {entry.size} bytes' if entry.size else ''}, download it again"
        )


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
