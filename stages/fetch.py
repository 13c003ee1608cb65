"""A release brought into data/raw: published by the sample's renderer, or linked from a folder, never copied.

Reads: a release folder, or nothing. Writes: the release's files, rejects, and last of all a manifest with the size
and sha256 of every file, so that its presence means "complete". Params: sample, the data set's fetch and sample.

A file that has not changed since it was hashed is not hashed again: its size, time and inode are remembered in the
journal.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stages import command, journals, plugins, progress, tables, workers
from stages.config import FetchParams, SampleParams
from stages.errors import UserError
from stages.readers import MANIFEST, Reject, printable

log = logging.getLogger(__name__)

SECTIONS = {"sample": "sample", "settings": "dataset.{dataset}.sample", "fetch": "dataset.{dataset}.fetch"}

_OURS = {MANIFEST, "rejects.parquet"}
_CHUNK = 2**20
_PUBLISHED = "published"  # marks a rendered release as whole

Identity = list[int]  # size, modification time in ns, inode: changes when a file's content is changed


def run(
    *,
    dataset: str,
    out: Path,
    journal: Path = Path(".journal"),
    sample: SampleParams,
    settings: Mapping[str, Any],
    fetch: FetchParams,
) -> None:
    """Make `out` hold exactly the release's files and their manifest.

    Raises:
        UserError: the release folder is missing or empty, or files cannot be linked.
    """
    memory = journal / "fetch" / f"{dataset}.json"
    rejects: list[Reject] = []
    of_user = fetch.source == "folder"
    release = Path(fetch.folder) if of_user else _published(dataset, journal, settings, sample.seed)
    _check_apart(release, out)
    (out / MANIFEST).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    files = _files(dataset, release, rejects)
    _bring(files, out)
    names = sorted(files)
    digests = _digests(dataset, out, names, memory)
    rows = [{"dataset": dataset, "key": each.key, "stage": "fetch", "reason": each.reason} for each in rejects]
    tables.write_rejects(out / "rejects.parquet", rows)
    _replace_text(out / MANIFEST, _manifest(dataset, fetch.source, out, digests))
    log.info("fetch %s: %d files, %d rejects", dataset, len(files), len(rejects))


def _check_apart(release: Path, out: Path) -> None:
    one, other = release.resolve(), out.resolve()
    if out.is_symlink() or one == other or one in other.parents or other in one.parents:
        raise UserError(f"{out} should be a folder of its own, apart from the release in {release}: move one of them")


def _published(dataset: str, journal: Path, settings: Mapping[str, Any], seed: int) -> Path:
    """Folder with the whole rendered release; rendered now unless it was before with the same settings and code."""
    module = plugins.load("stages.sample", dataset)
    params = plugins.settings(module, settings, f"dataset.{dataset}.sample")
    ingredients = json.dumps([dataset, dict(settings), seed], sort_keys=True)
    folder = journals.folder(journal, "fetch", dataset, ingredients)
    release = folder / "release"
    if not (folder / _PUBLISHED).exists():
        journals.forget(folder)
        release.mkdir(parents=True)
        log.info("fetch %s: rendering the sample release", dataset)
        module.publish(release, params, seed=seed)
        (folder / _PUBLISHED).touch()
    return release


def _files(dataset: str, release: Path, rejects: list[Reject]) -> dict[str, Path]:
    """Name within the release -> the file itself; what cannot be read goes to `rejects`.

    Raises:
        UserError: no such folder, or no file in it; the sentence tells what belongs there.
    """
    if not release.is_dir():
        raise UserError(f"{release} is no folder: {_wanted(dataset)}")
    files: dict[str, Path] = {}
    for path in _walk(release, set()):
        name = path.relative_to(release).as_posix()
        if name in _OURS:
            continue
        if not path.is_file():
            rejects.append(Reject(printable(name), "unreadable file: a link that leads nowhere, or no regular file"))
        elif printable(name) != name:
            rejects.append(Reject(printable(name), "unreadable name: not UTF-8"))
        else:
            files[name] = path.resolve()
    if not files:
        raise UserError(f"{release} is empty: {_wanted(dataset)}")
    return files


def _wanted(dataset: str) -> str:
    expected = plugins.load("stages.datasets", dataset).EXPECTED
    return f"put or link the {dataset} release there, expected {expected}"


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


def _bring(files: Mapping[str, Path], out: Path) -> None:
    """Link every file into `out`, and remove what the release no longer holds."""
    for path in sorted(out.rglob("*"), reverse=True):  # what lies in a folder comes before the folder
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or not path.is_dir():
            if name not in files and name not in _OURS:
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    for name, source in files.items():
        target = out / name
        if not (target.exists() and target.samefile(source)):
            _link(source, target)


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


def _manifest(dataset: str, source: str, out: Path, digests: Mapping[str, str]) -> str:
    files = [{"name": name, "size": (out / name).stat().st_size, "sha256": digest} for name, digest in digests.items()]
    return json.dumps({"dataset": dataset, "source": source, "files": files}, indent=1) + "\n"


def _digests(dataset: str, out: Path, names: list[str], memory: Path) -> dict[str, str]:
    """sha256 of every file, in the order of `names`; a file that is remembered and has not changed is not read."""
    known = _remembered(memory)
    identities = {name: _identity(out / name) for name in names}
    digests = {name: known[name][1] for name in names if name in known and known[name][0] == identities[name]}
    missing = [name for name in names if name not in digests]
    if missing:
        with ThreadPoolExecutor(workers.available()) as pool:
            hashed = pool.map(lambda name: _sha256(out / name), missing)
            for name, digest in zip(
                missing, progress.track(hashed, len(missing), f"fetch {dataset}", "files"), strict=True
            ):
                digests[name] = digest
        _replace_text(memory, json.dumps({name: [identities[name], digests[name]] for name in names}))
    return {name: digests[name] for name in names}


def _remembered(memory: Path) -> dict[str, tuple[Identity, str]]:
    try:
        return json.loads(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def _identity(path: Path) -> Identity:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _replace_text(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    command.main(run, SECTIONS, __doc__)
