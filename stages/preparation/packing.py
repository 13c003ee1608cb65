"""Pack the items of a release into shards and an index; a killed run continues where it stopped.

Units of items are processed in parallel and written in order. After each unit, its rows, its rejects and the
writer's mark are recorded in one file, so the next run continues after the last recorded unit and ends with the
same bytes as a run without interruption.
"""

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from fabnet.images import scale_pad_centre
from stages.preparation import contact_sheets
from stages.releases.readers import Item, Reject, Release, manifest_bytes
from stages.runtime import progress, tables, workers
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import CropParams, GeometryParams
from stages.storage import journals, media
from stages.storage.shards import Mark, ShardWriter

log = logging.getLogger(__name__)

FEWEST_FRAMES = 2  # of a track: a source and a target frame

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
    items_per_unit: int
    shard_mb: int
    settings: Sequence[str] = ()  # everything besides the release that the result depends on
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])  # of the index
    names: Mapping[str, Sequence[str]] = field(
        default_factory=dict[str, Sequence[str]]
    )  # of label values, for the sheets
    finish: Finish | None = None  # before the result moves into `place.out`

    @property
    def name(self) -> str:
        return f"{self.stage} {self.place.dataset}"

    @property
    def journal(self) -> Path:
        """Folder of this job's unfinished work."""
        ingredients = (*self.settings, manifest_bytes(self.place.raw))
        return journals.folder(self.place.journal, self.stage, self.place.dataset, *ingredients)


@dataclass(frozen=True)
class EncodedImage:
    """One image as JPEG, with its row of the index."""

    row: Mapping[str, Any]  # all columns of the index but those that locate the JPEG in its shard
    jpeg: bytes
    width_px: int
    height_px: int


class Keyed(Protocol):
    """What a worker process gets."""

    @property
    def key(self) -> str: ...


Ready = TypeVar("Ready", bound=Keyed)
Work = Callable[[Ready], Iterator[EncodedImage | Reject]]  # the images of one item; if it raises Rejected, none of them
Result = tuple[list[EncodedImage], list[Reject]]  # of one item


def encode(row: Mapping[str, Any], image: media.Image, quality: int) -> EncodedImage:
    """The image as JPEG, with its row."""
    height, width = image.shape[:2]
    return EncodedImage(row, media.encode_jpeg(image, quality), width, height)


class Tracked(Protocol):
    """A face track."""

    @property
    def identity_id(self) -> str: ...
    @property
    def video_id(self) -> str: ...
    @property
    def key(self) -> str: ...


def encode_frame(
    track: Tracked, number: int, frame: media.Image, crop: CropParams, geometry: GeometryParams
) -> EncodedImage:
    """The crop of frame `number` (at 25 fps) of a track, with its row of TRACK_FRAMES."""
    row = {
        "sample_id": frame_id(track, number),
        "identity_id": track.identity_id,
        "video_id": track.video_id,
        "track_id": track.key,
        "frame": number,
    }
    cropped = scale_pad_centre(frame, geometry.scale_px, geometry.pad_ltrb_px, geometry.centre_px)
    return encode(row, cropped, crop.jpeg_quality)


def frame_id(track: Tracked, number: int) -> str:
    """Name of a frame, unique within the data set."""
    return f"{track.key}/{number:07d}"


def pack(job: Job, read: Callable[[Path], Release[Item]], prepare: Callable[[Item], Ready], work: Work[Ready]) -> None:
    """Write shards, `index.parquet`, `rejects.parquet` and contact sheets of a release.

    Args:
        job: what to pack, and how.
        read: gives the items of the release in a folder; called once the manifest says that it is complete.
        prepare: reads one item, in the main process; it raises Rejected for an item that cannot be used.
        work: yields the encoded images of one item, in a worker process.

    Raises:
        UserError: the release is incomplete, or no item of it can be used.
    """
    with journals.unfinished(job.journal, job.place.out) as shards:
        _fill(job, shards, read(job.place.raw), prepare, work)


def _fill(job: Job, shards: Path, release: Release[Item], prepare: Callable[[Item], Ready], work: Work[Ready]) -> None:
    units = shards.with_name("units")
    done, mark = _resume(shards, units)
    if done:
        log.info("%s: continuing after %d finished units", job.name, done)
    items = progress.track(_unique(release.items), release.total, job.name, job.items)
    writer = ShardWriter(shards, job.shard_mb * 2**20, mark)
    try:
        ready = _prepared(items, job.items_per_unit, done, prepare)
        with closing(workers.in_order(partial(_process_unit, work), ready, workers.available())) as results:
            for number, unit in enumerate(results, done):
                _record(job, writer, units / f"{number:08d}.parquet", unit)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    _finish(job, shards, sorted(units.glob("*.parquet")))


def _unique(items: Iterable[Item | Reject]) -> Iterator[Item | Reject]:
    seen: set[str] = set()
    for item in items:
        is_repeated = not isinstance(item, Reject) and item.key in seen
        if not isinstance(item, Reject):
            seen.add(item.key)
        yield Reject(item.key, "repeated", "the release holds another of that name") if is_repeated else item


def _prepared(
    items: Iterable[Item | Reject], per_unit: int, done: int, prepare: Callable[[Item], Ready]
) -> Iterator[list[Ready | Reject]]:
    """Units of items that are read into memory; the first `done` units are skipped unread."""
    remaining = iter(items)
    number = 0
    while unit := list(islice(remaining, per_unit)):
        if number >= done:
            yield [item if isinstance(item, Reject) else _prepare(prepare, item) for item in unit]
        number += 1


def _prepare(prepare: Callable[[Item], Ready], item: Item) -> Ready | Reject:
    try:
        return prepare(item)
    except Rejected as error:
        return Reject(item.key, error.kind, error.detail)


def _process_unit(work: Work[Ready], unit: list[Ready | Reject]) -> list[Result]:
    return [([], [item]) if isinstance(item, Reject) else _process(work, item) for item in unit]


def _process(work: Work[Ready], item: Ready) -> Result:
    images: list[EncodedImage] = []
    rejects: list[Reject] = []
    try:
        for result in work(item):
            if isinstance(result, Reject):
                rejects.append(result)
            else:
                images.append(result)
    except Rejected as error:
        return [], [*rejects, Reject(item.key, error.kind, error.detail)]
    return images, rejects


def _record(job: Job, writer: ShardWriter, path: Path, unit: list[Result]) -> None:
    rows: list[dict[str, Any]] = []
    for images, _ in unit:
        if images:
            writer.begin_group()
        rows += [_add(writer, image) for image in images]
    writer.flush()
    rejects = [asdict(reject) for _, of_item in unit for reject in of_item]
    metadata = {"rejects": json.dumps(rejects), "mark": json.dumps(astuple(writer.mark))}
    tables.write(path, job.schema, rows, key=["sample_id"], metadata=metadata)


def _add(writer: ShardWriter, image: EncodedImage) -> dict[str, Any]:
    """The image's row of the index, after its JPEG was added to the shards."""
    shard, offset = writer.add(f"{image.row['sample_id']}.jpg", image.jpeg)
    return {
        **image.row,
        "shard": shard,
        "offset": offset,
        "size": len(image.jpeg),
        "sha256": hashlib.sha256(image.jpeg).hexdigest(),
        "width_px": image.width_px,
        "height_px": image.height_px,
    }


def _resume(shards: Path, units: Path) -> tuple[int, Mark]:
    """Number of recorded units, and the writer's mark after the last one; 0 if its shards are missing."""
    done = len(list(units.glob("[0-9]*.parquet")))
    mark = Mark(*json.loads(_metadata(units / f"{done - 1:08d}.parquet")["mark"])) if done else Mark()
    if done and not mark.fits(shards):
        shutil.rmtree(units)
        return 0, Mark()
    return done, mark


def _metadata(path: Path) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}


def _finish(job: Job, shards: Path, units: list[Path]) -> None:
    rejects = [Reject(**entry) for path in units for entry in json.loads(_metadata(path)["rejects"])]
    index = pa.concat_tables([tables.read(path, job.schema) for path in units]) if units else job.schema.empty_table()
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
        shards, index, rejects, dataset=place.dataset, raw=place.raw, out=place.sheets, names=job.names
    )
    if job.finish:
        job.finish(shards, index, rejects)


def _log(job: Job, index: pa.Table, rejects: list[Reject]) -> None:
    shards = len(set(index["shard"].to_pylist()))
    log.info("%s: %d images in %d shards, %d rejects", job.name, index.num_rows, shards, len(rejects))
    for kind, count in sorted(Counter(reject.kind for reject in rejects).items()):
        log.info("  %d x %s", count, kind)
