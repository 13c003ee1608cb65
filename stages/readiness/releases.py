"""Releases: each is in its folder with what its reader needs, or all that its download needs is set."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from stages.acquisition import hosts, links, manifest, registry, unpack
from stages.acquisition.registry import Entry
from stages.releases.readers import incomplete
from stages.runtime import plugins
from stages.runtime.errors import UserError
from stages.runtime.params import FetchParams


@dataclass(frozen=True)
class Source:
    """Where the release of a data set comes from, and where `fetch` puts it."""

    dataset: str
    fetch: FetchParams
    folder: Path
    raw: Path

    @property
    def module(self) -> ModuleType:
        """The data set's reader."""
        return plugins.load("stages.datasets", self.dataset)

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files in the folder by name; none if there is no folder."""
        if not self.folder.is_dir():
            return {}
        return {path.relative_to(self.folder).as_posix(): path for path in links.walk(self.folder, set())}

    @cached_property
    def is_fetched(self) -> bool:
        return manifest.is_whole(self.raw, self.fetch.source)

    @cached_property
    def archives(self) -> Sequence[unpack.Archive]:
        """What `fetch` unpacks.

        Raises:
            UserError: a volume is missing.
        """
        return list(unpack.find_archives(self.files)) if getattr(self.module, "UNPACK_ARCHIVES", False) else []

    @cached_property
    def missing(self) -> Sequence[Entry]:
        """Files that `fetch` would download from their owner: those of the registry that are not in the folder."""
        listed = registry.read(registry.FOLDER / f"{self.dataset}.txt")
        wanted = registry.first_parts(listed, self.fetch.parts)
        if self.fetch.identities:  # their clips are taken out of the parts on the server
            wanted = listed
        return [entry for entry in wanted if entry.name not in self.files]


def check(source: Source, environment: Mapping[str, str]) -> None:
    """Check one release; a synthetic one needs nothing. A release that was fetched may have left its folder.

    Raises:
        UserError: the folder, a file that the reader needs, or the URL of a download is missing.
    """
    if source.fetch.source == "http":
        _check_download(source, environment)
    elif source.fetch.source == "folder" and (source.folder.is_dir() or not source.is_fetched):
        links.check_apart(source.folder, source.raw)
        _check_not_empty(source)
        if hasattr(source.module, "located") and not source.archives:  # which may hold what is missing beside them
            source.module.located(source.folder, source.files)


def _check_not_empty(source: Source) -> None:
    if not source.files:
        raise links.absent(source.folder, links.request(source.dataset, source.module))


def _check_download(source: Source, environment: Mapping[str, str]) -> None:
    """The mirror says itself what it has; the lists of a release whose images are listed by URL come by mail."""
    if hosts.mirror(source.dataset, environment) is not None:
        return
    by_host: defaultdict[str, list[str]] = defaultdict(list)
    for entry in source.missing:
        if hosts.find(entry.host, environment) is None:
            by_host[entry.host].append(entry.name)
    if by_host:
        raise UserError("; ".join(_no_url(source, host, names) for host, names in by_host.items()))
    if hasattr(source.module, "image_urls"):
        _check_not_empty(source)
        if next(source.module.image_urls(source.files), None) is None:
            raise incomplete(source.folder, source.module.EXPECTED, "list")


def _no_url(source: Source, host: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"{names[0]}{more} cannot be downloaded: set FABNET_{host}_URL (and _KEY, or _USER and _PASSWORD) to what the "
        f"owner sent you, or put them into {source.folder}"
    )
