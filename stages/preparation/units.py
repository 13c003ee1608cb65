"""Units of items: a worker packs each into a shard of its own and records it.

A unit's files lie in a journal, named by its number: its items, while they wait; the shard with their images; the
record. A unit is finished when its record is there and its shard is whole, so a run may be killed at any moment. Two
workers may pack the same unit at the same time: both write the same bytes.
"""

import hashlib
import json
import logging
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from stages.preparation.encoded import EncodedImage
from stages.releases.readers import Reject
from stages.runtime import files, outputs, tables
from stages.runtime.errors import Rejected
from stages.storage import journals
from stages.storage.shards import ShardWriter, shard_name

log = logging.getLogger(__name__)

WAITING, RECORDS = "waiting", "units"  # folders of a journal: for items, and for the records of finished units


class Keyed(Protocol):
    """An item; it is pickled, and its media are read by the worker that gets it."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)
Work = Callable[[Item], Iterator[EncodedImage | Reject]]  # the images of one item; if it raises Rejected, none of them


@dataclass(frozen=True)
class Unit:
    """Some consecutive items of a release. A worker is sent no more than this and finds the items in their file."""

    journal: Path
    number: int
    items: int  # how many

    def __str__(self) -> str:
        return f"unit {self.number} of {self.journal.parent.name}"

    @property
    def waiting(self) -> Path:
        """The items, one pickle after the other."""
        return self.journal / WAITING / f"{self.number:08d}.items"

    @property
    def shard(self) -> Path:
        """Their images; a unit without images has no shard."""
        return self.journal / journals.WHOLE / shard_name(self.number)

    @property
    def record(self) -> Path:
        """Their rows of the index; in the metadata the number of items, the size of the shard, and the rejects."""
        return self.journal / RECORDS / f"{self.number:08d}.parquet"


def finished(journal: Path) -> dict[int, int]:
    """How many items each finished unit has, by its number; what a killed run has left of others is removed."""
    shutil.rmtree(journal / WAITING, ignore_errors=True)
    for folder in (WAITING, RECORDS, journals.WHOLE):
        (journal / folder).mkdir(parents=True, exist_ok=True)
    items: dict[int, int] = {}
    for path in records(journal):
        number = int(path.stem)
        if known := _items_if_whole(Unit(journal, number, 0)):
            items[number] = known
        else:
            log.info("unit %d of %s is damaged: it is packed again", number, journal.parent.name)
            path.unlink()
    packed = {Unit(journal, number, 0).shard for number in items}
    for path in (journal / journals.WHOLE).glob("*.tar"):
        if path not in packed:
            path.unlink()
    return items


def records(journal: Path) -> list[Path]:
    """The records of all units, in their order."""
    return sorted((journal / RECORDS).glob("*.parquet"))


def rejects(record: Path) -> list[Reject]:
    """The rejects of a finished unit, in their order."""
    return [Reject(**entry) for entry in json.loads(_metadata(record)["rejects"])]


def hand_over(journal: Path, number: int, items: Iterable[Keyed | Reject]) -> Unit:
    """The unit of these items, after they were written to its file; one of them is in memory at a time."""
    count = 0
    with files.whole(Unit(journal, number, 0).waiting) as partial, partial.open("wb") as file:
        for item in items:
            pickle.dump(item, file, pickle.HIGHEST_PROTOCOL)
            count += 1
    return Unit(journal, number, count)


def pack(unit: Unit, *, work: Work[Any], schema: pa.Schema) -> Unit:
    """The unit, after its shard and then its record were moved into place.

    The images of one item at a time are in memory.
    """
    with tempfile.TemporaryDirectory(dir=unit.waiting.parent) as folder:
        shard, record = Path(folder, unit.shard.name), Path(folder, unit.record.name)
        rows, of_items = _fill(shard, unit, work)
        metadata = {
            "items": str(unit.items),
            "shard_bytes": str(shard.stat().st_size if rows else 0),
            "rejects": json.dumps([asdict(reject) for reject in of_items]),
        }
        tables.write(record, schema, rows, key=["sample_id"], metadata=metadata)
        if rows:  # the shard before the record, also on the disk
            outputs.move(shard, unit.shard)
        outputs.move(record, unit.record)
    return unit


def _fill(shard: Path, unit: Unit, work: Work[Any]) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Rows of the index and rejects of all items of the unit, whose images are then in `shard`."""
    rows: list[dict[str, Any]] = []
    of_items: list[Reject] = []
    with ShardWriter(shard) as writer:
        for item in _items(unit):
            images, of_item = ([], [item]) if isinstance(item, Reject) else _process(work, item)
            rows += [_row(image, unit.shard.name, writer) for image in images]
            of_items += of_item
    return rows, of_items


def _items(unit: Unit) -> Iterator[Any]:
    with unit.waiting.open("rb") as file:
        for _ in range(unit.items):
            yield pickle.load(file)


def _process(work: Work[Item], item: Item) -> tuple[list[EncodedImage], list[Reject]]:
    """Images and rejects of one item."""
    images: list[EncodedImage] = []
    of_item: list[Reject] = []
    try:
        for result in work(item):
            if isinstance(result, Reject):
                of_item.append(result)
            else:
                images.append(result)
    except Rejected as error:
        return [], [*of_item, Reject(item.key, error.kind, error.detail)]
    return images, of_item


def _row(image: EncodedImage, shard: str, writer: ShardWriter) -> dict[str, Any]:
    """The image's row of the index, after its JPEGs were added to the shard."""
    name = image.row["sample_id"]
    offset = writer.add(f"{name}.jpg", image.jpeg)
    further: dict[str, int] = {}
    for side_px, jpeg in image.further.items():
        columns = tables.further(side_px).names
        further |= zip(columns, (writer.add(f"{name}.{side_px}.jpg", jpeg), len(jpeg)), strict=True)
    return {
        **image.row,
        **further,
        "shard": shard,
        "offset": offset,
        "size": len(image.jpeg),
        "sha256": hashlib.sha256(image.jpeg).hexdigest(),
        "width_px": image.width_px,
        "height_px": image.height_px,
    }


def _items_if_whole(unit: Unit) -> int:
    """The number of items in the unit's record; 0 if the record cannot be read or the shard is not whole."""
    try:
        pq.read_table(unit.record)  # all of it, since its metadata may be whole where its rows are not
        metadata = _metadata(unit.record)
        items, shard_bytes = int(metadata["items"]), int(metadata["shard_bytes"])
        rejects(unit.record)
    except (*tables.UNREADABLE, RecursionError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the file; Arrow's own have no number
            raise
        return 0
    return items if shard_bytes == (unit.shard.stat().st_size if unit.shard.exists() else 0) else 0


def _metadata(record: Path) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (pq.read_schema(record).metadata or {}).items()}
