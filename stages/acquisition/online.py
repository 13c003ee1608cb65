"""A release fetched over HTTP into its folder: which files there are, who hands them out, what is still missing.

Files that lie in the folder already, put there by the user or by an earlier run, are checked and not fetched again.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from stages.acquisition import download, hosts, listed_images, registry, remote_zip, retries, transfer
from stages.acquisition.digests import Memory
from stages.acquisition.download import Source
from stages.acquisition.listed_images import Picture
from stages.acquisition.registry import Entry
from stages.acquisition.retries import Manners
from stages.acquisition.transfer import Limits
from stages.releases.readers import Reject
from stages.runtime import progress
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

INDEX = "registry.txt"  # what a mirror calls its registry
MAX_INDEX_BYTES = 2**26
_TOLD = 3  # failed files that a sentence names


def entries(dataset: str, committed: Path, environment: Mapping[str, str], work: Path) -> list[Entry]:
    """The data set's registry: the mirror's if there is a mirror, else the committed one.

    Raises:
        UserError: the mirror does not answer, or a registry is malformed.
    """
    mirror = hosts.mirror(dataset, environment)
    if mirror is None:
        return registry.read(committed)
    copy = work / f"{dataset}.registry.txt"
    transfer.forget(copy)
    address = mirror.address(INDEX)
    with transfer.client() as client:
        try:
            attempt = partial(transfer.attempt, client, address, copy, Limits(most=MAX_INDEX_BYTES))
            retries.repeated(attempt, copy, Manners(tries=3), threading.Event())
        except transfer.TransferError as error:
            raise UserError(f"{hosts.shown(address)} should list the mirror's {dataset}: {error}") from None
    return registry.parse(copy.read_text(encoding="utf-8", errors="replace"), hosts.shown(address))


def bring(dataset: str, wanted: Sequence[Entry], folder: Path, environment: Mapping[str, str], memory: Memory) -> None:
    """Every one of `wanted` into `folder`.

    Raises:
        UserError: some could not be fetched, there is no address for them, or no room.
    """
    failures = download.bring(wanted, folder, lambda entry: _source(dataset, entry, environment), memory)
    if wanted:
        log.info("fetch %s: %s", dataset, covered(wanted, folder))
    if failures:
        told = "; ".join(f"{name}: {reason}" for name, reason in islice(failures.items(), _TOLD))
        more = f"; and {len(failures) - _TOLD} more" if len(failures) > _TOLD else ""
        raise UserError(
            f"{dataset} is not complete, {covered(wanted, folder)} are there; {told}{more}; "
            "what has arrived is kept, the same command goes on from there"
        )


def bring_identities(
    dataset: str, listed: Sequence[Entry], identities: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> None:
    """The members of some identities from the archive that is cut up, each identity as a ZIP of its own.

    Raises:
        UserError: the archive cannot be read where it is, or an identity is not in it.
    """
    sources = [_source(dataset, entry, environment) for entry in listed if entry.is_part]
    try:
        remote_zip.bring(sources, identities, folder)
    except transfer.TransferError as error:
        raise UserError(f"{dataset}: the parts cannot be read from afar, {error}") from None


def covered(wanted: Sequence[Entry], folder: Path) -> str:
    """How much of `wanted` lies in `folder`."""
    paths = {entry.name: folder / entry.name for entry in wanted}
    return registry.coverage(wanted, {name: path.stat().st_size for name, path in paths.items() if path.is_file()})


def bring_pictures(
    dataset: str, listed: Iterable[Picture], folder: Path, environment: Mapping[str, str], journal: Path
) -> Iterator[Reject]:
    """Fetches what is listed by address; one reject for every picture that did not come.

    A mirror's copy is tried before the listed addresses.
    """
    mirror = hosts.mirror(dataset, environment)
    wanted = [Picture(name, (*([mirror.address(name)] if mirror else []), *addresses)) for name, addresses in listed]
    results = listed_images.bring(wanted, folder, journal / f"{dataset}.addresses.jsonl")
    for result in progress.track(results, len(wanted), f"fetch {dataset}", "pictures"):
        if result is not None:
            yield result


def _source(dataset: str, entry: Entry, environment: Mapping[str, str]) -> Source:
    host = hosts.mirror(dataset, environment) or hosts.find(entry.host, environment)
    if host is None:
        raise UserError(
            f"{entry.name} has no address: set FABNET_{entry.host}_URL (and _KEY, or _USER and _PASSWORD) as its owner "
            f"told you, or put the file into the folder of dataset.{dataset}.fetch"
        )
    return Source(host.address(entry.name), host.login)
