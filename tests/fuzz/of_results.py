"""What stages and other laboratories write: tables, journals, models and weights."""

from pathlib import Path

import odd_binaries
import pyarrow as pa
import seeds_of_results
from target import Read, Target, put

from fabnet.inference import loading
from fabnet.modules import weights
from fabnet.pretext import released
from pipelines.fingerprints import crops
from pipelines.own import provenance, retrieve
from stages.evaluation import parts
from stages.preparation import units
from stages.runtime import tables
from stages.training import loop


def table(schema: pa.Schema) -> Read:
    def read(data: bytes, folder: Path) -> None:
        found = tables.read(put(folder, data, "table.parquet"), schema)
        found.validate(full=True)
        found.to_pylist()
        if schema is tables.REJECTS:
            tables.Rejects("index").include(folder / "table.parquet")

    return read


def embeddings(data: bytes, folder: Path) -> None:
    path = put(folder, data, "table.parquet")
    tables.read(path, tables.EMBEDDINGS)
    parts.named(path)


def crop_table(data: bytes, folder: Path) -> None:
    crops.read(put(folder, data, "crops.parquet"))


def gallery(data: bytes, folder: Path) -> None:
    path = put(folder, data, "gallery.parquet")
    retrieve._vectors(path, tables.read(path))


def own_table(data: bytes, folder: Path) -> None:
    path = put(folder, data, "faces.parquet")
    provenance.is_of_faces(path)
    provenance.read(path)
    provenance.rows(path).to_pylist()


def journal_unit(data: bytes, folder: Path) -> None:
    put(folder, data, f"{units.RECORDS}/00000000.parquet")
    units.finished(folder)
    for record in units.records(folder):
        units.rejects(record)


def training_state(data: bytes, folder: Path) -> None:
    put(folder, data, loop.STATE)
    loop._saved(folder)


def model(data: bytes, folder: Path) -> None:
    loading.load(put(folder, data, "model.safetensors"), "cpu")


def weight_file(data: bytes, folder: Path) -> None:
    path = put(folder, data, "weights.pth")
    with path.open("rb") as file:
        weights.state(weights.read(file))
    with path.open("rb") as file:
        released.supplied(seeds_of_results.RELEASED, file)


CLAUSE = (ValueError,)  # exactly this class: `fabnet` says one clause


TARGETS = (
    Target(
        "table of faces",
        seeds_of_results.face_tables,
        table(tables.FACES),
        lambda: odd_binaries.parquets(tables.FACES),
        60,
    ),
    Target(
        "table of rejects",
        seeds_of_results.reject_tables,
        table(tables.REJECTS),
        lambda: odd_binaries.parquets(tables.REJECTS),
        60,
    ),
    Target(
        "table of embeddings",
        seeds_of_results.embedding_tables,
        embeddings,
        lambda: odd_binaries.parquets(tables.EMBEDDINGS),
        60,
    ),
    Target("table of crops", seeds_of_results.crop_tables, crop_table, lambda: odd_binaries.parquets(crops.SCHEMA), 60),
    Target("gallery", seeds_of_results.galleries, gallery, lambda: odd_binaries.parquets(seeds_of_results.GALLERY), 60),
    Target("table of a user", seeds_of_results.own_tables, own_table, None, 60),
    Target("journal unit", seeds_of_results.journal_units, journal_unit, None, 60),
    Target("training state", seeds_of_results.training_states, training_state, None, 60),
    Target("model", seeds_of_results.models, model, odd_binaries.models, 80, allowed=CLAUSE, is_guided=True),
    Target("weight file", seeds_of_results.weight_files, weight_file, None, 40, allowed=CLAUSE, is_guided=True),
)
