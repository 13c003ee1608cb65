"""A packed release of 300-W, and a network's embeddings and probes of it: what `perturb` reads."""

from pathlib import Path
from typing import Any

import packaged
import pyarrow as pa
import pyarrow.parquet as pq
from releases import bring, face_points, w300

from pipelines import profile
from stages import embed, index, perturb, probe
from stages.runtime import config, tables
from stages.runtime.params import BoxParams, PerturbParams, TaskParams

SAMPLE = config.parsed(profile.text("sample", packaged.ROOT / "profiles"), "sample")
PROBE = SAMPLE.probe.model_copy(update=packaged.PROBE)
EMBED = SAMPLE.embed.model_copy(update={"device": "cpu", "batch": 5})
INDEX = SAMPLE.index.model_copy(update={"crop_px": packaged.CROP_PX})
CHANGES = PerturbParams(images=100, scales=[0.8, 1.0, 1.25], shifts=[0.1])
CODES = ["even", "odd"]
TASKS = {
    "landmarks": TaskParams(probe="points", label="landmarks", metrics=["interocular_percent"]),
    "retrieval": TaskParams(probe="neighbours", label="code", metrics=["neighbour_recall"], classes=CODES),
}
DATASET = {"w300": SAMPLE.dataset["w300"].model_copy(update={"tasks": TASKS})}
FOLDERS = {"train": "afw", "val": "lfpw/trainset", "test": "ibug"}


def write_faces(root: Path) -> None:
    """A packed release of 300-W with a split, and an evenness that its neighbours are asked for."""
    names = {f"{folder}/{n:02d}": face_points(n) for folder in FOLDERS.values() for n in range(14)}
    raw = bring("w300", w300(root / "release", names), root / "raw" / "w300")
    place = {"raw": raw, "out": root / "faces" / "w300", "sheets": root / "sheets", "journal": root / "journal"}
    index.run(dataset="w300", **place, index=INDEX, box=BoxParams(margin_frac=0.1))
    path = root / "faces" / "w300" / "index.parquet"
    table = pq.read_table(path)
    ids = table["sample_id"].to_pylist()
    pq.write_table(table.append_column("code", pa.array([n % 2 for n in range(len(ids))], pa.int8())), path)
    split_of = {folder: split for split, folder in FOLDERS.items()}
    rows = [
        {"sample_id": name, "group_id": str(number // 2), "split": split_of[name.rsplit("/", 1)[0]]}
        for number, name in enumerate(ids)
    ]
    tables.write(root / "splits" / "w300.parquet", tables.SPLITS, rows, key=["sample_id"])


def evaluate(root: Path, module: Any, settings: dict[str, Any]) -> dict[str, Path]:
    """A network's embeddings and probes; what `perturb` reads."""
    packaged.write_model(root, module, settings)
    found = paths(root, f"{module.__name__.rsplit('.', 1)[-1]}-3")
    read = {name: found[name] for name in ("faces", "splits", "embeddings")}
    of_tracks = {"tracks": root, "track_splits": root, "track_sets": [], "followed": []}
    out = {"out": found["embeddings"], "journal": root / "journal"}
    embed.run(model=found["model"], faces=found["faces"], **of_tracks, **out, face_sets=["w300"], embed=EMBED)
    of = {"seed": 7, "face_sets": ["w300"], "track_sets": [], "followed": [], "probe": PROBE, "dataset": DATASET}
    probe.run(**read, out=found["metrics"], **of)
    return found


def paths(root: Path, name: str) -> dict[str, Path]:
    """What `perturb` reads of the run `name`, a method and its seed."""
    of_run = {"model": "models", "embeddings": "embeddings", "metrics": "metrics"}
    of_all = {folder: root / folder for folder in ("raw", "faces", "splits")}
    return {**of_all, **{option: root / folder / name for option, folder in of_run.items()}}


def run(paths: dict[str, Path], out: Path, **changes: Any) -> dict[tuple[str, float, float], dict[str, Any]]:
    """Rows by task, scale and shift."""
    settings: dict[str, Any] = {
        "seed": 7, "face_sets": ["w300"], "detect": SAMPLE.detect, "index": INDEX, "embed": EMBED, "probe": PROBE,
        "perturb": CHANGES, "dataset": DATASET,
    }  # fmt: skip
    perturb.run(**paths, out=out, **(settings | changes))
    rows = tables.read(out / "sensitivity.parquet", tables.SENSITIVITY).to_pylist()
    return {(row["task"], row["scale"], row["shift"]): row for row in rows}
