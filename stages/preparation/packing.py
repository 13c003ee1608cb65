"""Pack the items of a release into shards and an index; a killed run continues where it stopped.

Every unit of items becomes a shard, whose number is the unit's. Workers read the media and write the shards; this
process reads the owner's lists and joins the units' rows. The result depends on the units alone: it has the same bytes
for any number of workers, and after any number of interruptions.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa

from stages.preparation import contact_sheets, units
from stages.preparation.units import Unit, Work
from stages.releases.readers import MANIFEST, Item, Reject, Release, manifest_bytes
from stages.runtime import progress, tables, workers
from stages.runtime.errors import UserError
from stages.storage import journals

log = logging.getLogger(__name__)

SHEETS = "sheets"  # folder of a journal for the contact sheets

Finish = Callable[[Path, pa.Table, list[Reject]], None]  # folder of the result, its index, its rejects


@dataclass(frozen=True)
class Place:
    """Where the release of one data set lies, and where its shards go."""

    dataset: str
    raw: Path  # the release, as `fetch` wrote it; its rejects are passed on
    out: Path
    sheets: Path  # folder of the contact sheets
    journal: Path  # folder of the unfinished work of all jobs


@dataclass(frozen=True)
class Job:
    """What to pack, and how."""

    place: Place
    stage: str
    schema: pa.Schema  # of the index
    items: str  # plural noun for progress lines
    items_per_unit: int  # one shard holds the images of so many items
    settings: Sequence[str] = ()  # everything besides the release that the result depends on
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])  # of the index
    names: Mapping[str, Sequence[str]] = field(
        default_factory=dict[str, Sequence[str]]
    )  # of label values, for the sheets
    finish: Finish | None = None  # before the result moves into `place.out`

    @property
    def name(self) -> str:
        return f"{self.stage} {self.place.dataset}"

    @cached_property
    def journal(self) -> Path:
        """Folder of this job's unfinished work, whatever code is loaded later."""
        ingredients = (*self.settings, manifest_bytes(self.place.raw))
        return journals.folder(self.place.journal, self.stage, self.place.dataset, *ingredients)


def pack(job: Job, read: Callable[[Path], Release[Item]], work: Work[Item]) -> None:
    """Write shards, `index.parquet`, `rejects.parquet` and contact sheets of a release.

    Args:
        job: what to pack, and how.
        read: gives the items of the release in a folder; called once the manifest says that it is complete.
        work: yields the encoded images of one item, in a worker process.

    Raises:
        UserError: the release is incomplete, or no item of it can be used.
    """
    outs = {journals.WHOLE: job.place.out, SHEETS: job.place.sheets}
    with journals.unfinished(job.journal, outs) as is_due:
        if is_due:
            count = _fill(job, read(job.place.raw), work)
            _finish(job, [Unit(job.journal, number, 0).record for number in range(count)])


def _fill(job: Job, release: Release[Item], work: Work[Item]) -> int:
    """Have all units packed that are not finished yet; returns how many there are in all."""
    done = units.finished(job.journal)
    if done:
        log.info("%s: continuing after %d finished units", job.name, len(done))
    todo = _units(job, _unique(release.items), done)
    pack_unit = partial(_pack, raw=job.place.raw, work=work, schema=job.schema)
    with closing(workers.in_order(pack_unit, todo, workers.available(), shared=job.journal)) as packed:
        counts = chain(done.values(), map(_settle, packed))
        return sum(1 for _ in progress.track(counts, release.total, job.name, job.items, size=int))


def _units(job: Job, items: Iterator[Item | Reject], done: Mapping[int, int]) -> Iterator[Unit]:
    """The units but for those that are done, whose items are passed over."""
    for number, first in enumerate(items):
        of_unit = chain([first], islice(items, job.items_per_unit - 1))
        if number not in done:
            yield units.hand_over(job.journal, number, of_unit)
        else:
            for _ in of_unit:
                pass


def _pack(unit: Unit, *, raw: Path, work: Work[Item], schema: pa.Schema) -> Unit:
    """Pack a unit where the release is seen; elsewhere every image of it would be a reject.

    Raises:
        UserError: it is not seen here.
    """
    if not (raw / MANIFEST).is_file():
        raise UserError(f"{unit}: {raw / MANIFEST} is not seen from {Path.cwd()}: put the release on a shared disk")
    return units.pack(unit, work=work, schema=schema)


def _settle(unit: Unit) -> int:
    """Remove the items of a unit that is packed; returns how many they were."""
    unit.waiting.unlink()
    return unit.items


def _unique(items: Iterable[Item | Reject]) -> Iterator[Item | Reject]:
    seen: set[str] = set()
    for item in items:
        is_repeated = not isinstance(item, Reject) and item.key in seen
        if not isinstance(item, Reject):
            seen.add(item.key)
        yield Reject(item.key, "repeated", "the release holds another of that name") if is_repeated else item


def _finish(job: Job, records: Sequence[Path]) -> None:
    """Write what goes with the shards; `records` by name: a list of a shared folder may lag behind other machines."""
    shards = job.journal / journals.WHOLE
    rejects = [reject for record in records for reject in units.rejects(record)]
    index = pa.concat_tables([job.schema.empty_table(), *(tables.read(record, job.schema) for record in records)])
    _log(job, index, rejects)
    if not index.num_rows:
        raise UserError(
            f"{job.name}: nothing in the release can be used, {len(rejects)} rejects"
            + (f", the first is {rejects[0].key!r} ({rejects[0].reason})" if rejects else "")
            + "; put a complete release into its folder"
        )
    index = index.sort_by("sample_id")
    tables.write(shards / "index.parquet", job.schema, index, key=["sample_id"], metadata=job.metadata)
    place, table = job.place, tables.Rejects(job.stage)
    table.include(place.raw / "rejects.parquet")
    for reject in rejects:
        table.add(place.dataset, reject.key, reject.kind, reject.detail)
    table.write(shards / "rejects.parquet")
    contact_sheets.write(
        shards, index, rejects, dataset=place.dataset, raw=place.raw, out=job.journal / SHEETS, names=job.names
    )
    if job.finish:
        job.finish(shards, index, rejects)


def _log(job: Job, index: pa.Table, rejects: list[Reject]) -> None:
    shards = len(index["shard"].unique())
    log.info("%s: %d images in %d shards, %d rejects", job.name, index.num_rows, shards, len(rejects))
    for kind, count in sorted(Counter(reject.kind for reject in rejects).items()):
        log.info("  %d x %s", count, kind)
