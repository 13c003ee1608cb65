"""Download a release into its folder: which files there are, where they come from, and what is still missing.

Files that are already in the folder, put there by the user or by an earlier run, are checked and not downloaded again.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from stages.acquisition import (
    download,
    hosts,
    listed_images,
    partials,
    registry,
    remote_zip,
    responses,
    retries,
    transfer,
)
from stages.acquisition.digests import DigestCache
from stages.acquisition.download import Source
from stages.acquisition.listed_images import ListedImage
from stages.acquisition.registry import Entry
from stages.acquisition.retries import RetryPolicy
from stages.acquisition.transfer import Expected
from stages.releases.readers import Reject
from stages.runtime import progress
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

INDEX = "registry.txt"  # name of a mirror's registry
MAX_INDEX_BYTES = 2**26
_MAX_NAMED = 3  # failed files that an error message names


def entries(dataset: str, committed: Path, environment: Mapping[str, str], work: Path) -> list[Entry]:
    """The data set's registry: the mirror's if there is a mirror, otherwise the committed one.

    Raises:
        UserError: the mirror does not respond, or a registry is malformed.
    """
    mirror = hosts.mirror(dataset, environment)
    if mirror is None:
        return registry.read(committed)
    copy = work / f"{dataset}.registry.txt"
    partials.discard(copy)
    url = mirror.url(INDEX)
    with transfer.client() as client:
        try:
            attempt = partial(transfer.attempt, client, url, copy, Expected(max_bytes=MAX_INDEX_BYTES))
            retries.retry(attempt, copy, RetryPolicy(attempts=3), threading.Event())
        except responses.TransferError as error:
            raise UserError(f"{hosts.without_secrets(url)} should list the mirror's {dataset}: {error}") from None
    return registry.parse(copy.read_text(encoding="utf-8", errors="replace"), hosts.without_secrets(url))


def download_files(
    dataset: str, wanted: Sequence[Entry], folder: Path, environment: Mapping[str, str], cache: DigestCache
) -> None:
    """Download the files `wanted` into `folder`.

    Raises:
        UserError: some could not be downloaded, their URL is not set, or there is too little disk space.
    """
    failures = download.download(wanted, folder, lambda entry: _source(dataset, entry, environment), cache)
    if wanted:
        log.info("fetch %s: %s", dataset, coverage(wanted, folder))
    if failures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in islice(failures.items(), _MAX_NAMED))
        more = f"; and {len(failures) - _MAX_NAMED} more" if len(failures) > _MAX_NAMED else ""
        raise UserError(
            f"{dataset} is not complete, found {coverage(wanted, folder)}; {reasons}{more}; "
            "what has arrived is kept, run the same command again to resume"
        )


def download_identities(
    dataset: str, listed: Sequence[Entry], identities: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> None:
    """Download the members of some identities from the multi-part archive, as one ZIP per identity.

    Raises:
        UserError: the archive cannot be read on the server, or does not contain an identity.
    """
    sources = [_source(dataset, entry, environment) for entry in listed if entry.is_part]
    try:
        remote_zip.download_identities(sources, identities, folder)
    except responses.TransferError as error:
        raise UserError(f"{dataset}: the parts cannot be read on the server, {error}") from None


def coverage(wanted: Sequence[Entry], folder: Path) -> str:
    """How much of `wanted` is in `folder`."""
    paths = {entry.name: folder / entry.name for entry in wanted}
    return registry.coverage(wanted, {name: path.stat().st_size for name, path in paths.items() if path.is_file()})


def download_images(
    dataset: str, listed: Iterable[ListedImage], folder: Path, environment: Mapping[str, str], journal: Path
) -> Iterator[Reject]:
    """Download images by URL, and yield a reject for each one that fails.

    A mirror's copy is tried before the listed URLs, which may lead to public addresses and to servers that the user
    has named.
    """
    mirror = hosts.mirror(dataset, environment)
    images = [ListedImage(name, (*([mirror.url(name)] if mirror else []), *urls)) for name, urls in listed]
    failures = journal / f"{dataset}.dead_urls.jsonl"
    with transfer.client(hosts.named(environment)) as client:
        expected = listed_images.expected()
        results = listed_images.download(
            client, images, folder, failures, policy=listed_images.POLICY, expected=expected
        )
        for result in progress.track(results, len(images), f"fetch {dataset}", "images"):
            if result is not None:
                yield result


def _source(dataset: str, entry: Entry, environment: Mapping[str, str]) -> Source:
    host = hosts.mirror(dataset, environment) or hosts.find(entry.host, environment)
    if host is None:
        raise UserError(
            f"{entry.name} has no download URL: set FABNET_{entry.host}_URL (and _KEY, or _USER and _PASSWORD) to what "
            f"its owner sent you, or put the file into the folder of dataset.{dataset}.fetch"
        )
    return Source(host.url(entry.name), host.login)
