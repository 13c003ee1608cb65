"""The crops of one data set as a table without pictures, and the crops that this project has made of it."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.fingerprints import perceptual
from stages.releases import readers
from stages.runtime import config, plugins, progress, tables, workers
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import Params
from stages.storage import media
from stages.storage.shards import Shards

log = logging.getLogger(__name__)

KIND, CROPS = "kind", "crops"  # in the metadata: what the rows of a table are
DATASET, RELEASE, SETTINGS = "dataset", "release", "settings"  # in the metadata of a table of crops
PER_UNIT = 2000  # crops that one worker reads at a time
PRIVATE = {"weights", "further_px", "images_per_unit", "tracks_per_unit"}  # settings that change no crop

SCHEMA = pa.schema([
    ("sample_id", pa.string()),
    ("track_id", pa.string()),  # null for still images
    ("frame", pa.int32()),  # at 25 fps; null for still images
    ("crop_xyxy_px", pa.list_(pa.float32(), 4)),  # in the source image; null for tracks, which are all cut alike
    ("width_px", pa.int32()),
    ("height_px", pa.int32()),
    ("sha256", pa.string()),  # of the JPEG
    ("perceptual", pa.string()),  # see `perceptual`; null for a crop that cannot be decoded
])  # fmt: skip
WRITTEN = ("sample_id", "width_px", "height_px", "sha256")  # columns without empty cells
_NAMED = [field for field in SCHEMA if field.name != "perceptual"]


@dataclass(frozen=True)
class Crops:
    """Crops of one data set, sorted by sample_id."""

    dataset: str
    release: str  # digest of names and digests of the release's files
    settings: dict[str, Any]  # that the crops depend on, by their names in params.yaml
    rows: pa.Table  # SCHEMA, or for the crops that are here its columns but `perceptual`, and where the JPEG lies
    folder: Path | None = None  # of the shards, for the crops that are here

    @property
    def metadata(self) -> dict[str, str]:
        settings = json.dumps(self.settings, sort_keys=True)
        return {KIND: CROPS, DATASET: self.dataset, RELEASE: self.release, SETTINGS: settings}


def here(dataset: str, *, data: Path = Path("data"), params: Path = Path("params.yaml")) -> Crops:
    """The crops that `crop`, `track`, `detect` or `index` has made of a data set.

    Raises:
        UserError: no such data set, or it was not fetched or cut here.
    """
    known = plugins.names("stages.datasets")
    if dataset not in known:
        raise UserError(f"no data set {dataset!r}: expected one of {', '.join(known)}")
    is_track = plugins.load("stages.datasets", dataset).KIND in ("track", "video")
    folder = data / ("tracks" if is_track else "faces") / dataset
    rows = tables.read(folder / "index.parquet").sort_by("sample_id")
    for field in _NAMED:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    rows = rows.select([field.name for field in _NAMED] + ["shard", "offset", "size"])
    return Crops(dataset, _release(data / "raw" / dataset), _settings(config.load(params), dataset), rows, folder)


def with_perceptual(crops: Crops) -> pa.Table:
    """Rows of SCHEMA for crops that are here, all of which are decoded for it."""
    return crops.rows.append_column("perceptual", perceptual_of(crops, crops.rows)).select(SCHEMA.names)


def perceptual_of(crops: Crops, rows: pa.Table) -> pa.Array:
    """The perceptual digests of some rows, null for a crop that cannot be decoded."""
    if not len(rows):
        return pa.array([], pa.string())
    places = rows.select(["shard", "offset", "size"])
    units = [places.slice(start, PER_UNIT).to_pylist() for start in range(0, len(places), PER_UNIT)]
    digests = workers.in_order(partial(_digests, crops.folder), units, workers.available())
    shown = progress.track(digests, len(places), f"read {crops.dataset}", "crops", size=len)
    return pa.array([digest for of_unit in shown for digest in of_unit], pa.string())


def write(out: Path, crops: Crops) -> None:
    """The table of crops that are here; it appears whole or not at all."""
    tables.write(out, SCHEMA, with_perceptual(crops), key=["sample_id"], metadata=crops.metadata)


def read(path: Path) -> Crops:
    """A table of crops, of this laboratory or another one.

    Raises:
        UserError: no such table, or it cannot be compared.
    """
    metadata = {key.decode(errors="replace"): value.decode(errors="replace")
                for key, value in (_schema(path).metadata or {}).items()}  # fmt: skip
    wanted = "expected a table of crops, as `fabnet fingerprint` writes it"
    if metadata.get(KIND) != CROPS:
        raise UserError(f"{path} is a table of {metadata.get(KIND, 'something else')}: {wanted}")
    version = metadata.get(tables.VERSION, "none")
    if version != tables.SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {version}, this project reads {tables.SCHEMA_VERSION}: compare "
                        "with the version of this project that wrote it")  # fmt: skip
    try:
        settings = dict(json.loads(metadata[SETTINGS]))
        rows = pq.read_table(path).select(SCHEMA.names).cast(SCHEMA).sort_by("sample_id")
        _check(rows)
        return Crops(metadata[DATASET], metadata[RELEASE], settings, rows.replace_schema_metadata(None))
    except (*tables.UNREADABLE, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}): {wanted}") from None


def _check(rows: pa.Table) -> None:
    """Raises ValueError for cells that no table of crops has."""
    rows.validate(full=True)
    for name in WRITTEN:
        if rows[name].null_count:
            raise ValueError(f"the column {name} has empty cells")
    if len(rows["sample_id"].unique()) < len(rows):
        raise ValueError("a sample_id stands there twice")
    boxes = rows["crop_xyxy_px"].drop_null().combine_chunks()
    if boxes.flatten().null_count:
        raise ValueError("a box lacks an edge")
    for digest in rows["perceptual"].drop_null().unique().to_pylist():
        perceptual.check(digest)


def _schema(path: Path) -> pa.Schema:
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a table that `fabnet fingerprint` has written")
    try:
        return pq.read_schema(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: name a table that `fabnet fingerprint` has written") from None
    except tables.UNREADABLE as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None


def _digests(folder: Path, places: Sequence[dict[str, Any]]) -> list[str | None]:
    with Shards(folder) as shards:
        return [_digest(shards.read(**place)) for place in places]


def _digest(data: bytes) -> str | None:
    try:
        return perceptual.digest(media.decode_image(data))
    except Rejected:
        return None


def _release(raw: Path) -> str:
    """A digest of the release, whatever order its files are listed in, and wherever they came from."""
    lines = [f"{digest} {name}\n" for name, digest in sorted(readers.sha256_by_name(raw).items())]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _settings(params: Params, dataset: str) -> dict[str, Any]:
    """The settings that the crops of a data set depend on, by their names in params.yaml."""
    return {
        f"{section}.{name}": value
        for section, settings in _sections(params, dataset)
        for name, value in settings.model_dump(mode="json").items()
        if name not in PRIVATE
    }


def _sections(params: Params, dataset: str) -> Iterator[tuple[str, Any]]:
    of = params.dataset.get(dataset)
    kind = plugins.load("stages.datasets", dataset).KIND
    found = {
        "crop": params.crop if kind in ("track", "video") else None,
        "detect": params.detect if kind in ("detected", "video") else None,
        "index": params.index if kind == "boxed" else None,
        f"dataset.{dataset}.crop": of and of.crop,
        f"dataset.{dataset}.track": of and of.track,
        f"dataset.{dataset}.index": of and of.index,
    }
    yield from ((name, section) for name, section in found.items() if section is not None)
