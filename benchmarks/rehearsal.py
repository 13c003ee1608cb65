"""A paper run without pixels: what the stages after `crop` and `detect` take at the real size, and hours of the rest.

    python -m benchmarks.rehearsal data/rehearsal                    tables of 9 million frames and 1.2 million faces
    python -m benchmarks.rehearsal data/rehearsal --probed 929000    the probes of all action units as well

Writes the tables into FOLDER, runs split, loading, drawing and the probe on random embeddings, and a `dvc repro` that
finds nothing to run among as many files as a paper run leaves: seconds and peak memory of each. Hours of whole stages
follow from these and from the rates in benchmarks/results, for several numbers of cores and GPUs. Seconds are of
processor time, so other work on the machine disturbs them little. All of it is kept in benchmarks/results/rehearsal.
"""

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import columns, estimate, face_indexes, indexes, placeholders, run
from benchmarks.rows import apart, cores, current_commit, file_name, processor
from pipelines import profile
from stages import probe, split
from stages.runtime import command, config, files, tables

FEWEST_FRAMES, FEWEST_PROBED = run.LEAST_FRAMES, 500
PROBED = 50_000
METHOD = "fabnet-0"
HASHED_MB = 256


@dataclass(frozen=True)
class Step:
    """One measured step."""

    step: str
    what: str
    seconds: float  # of a processor
    peak_gb: float


def rehearse(folder: Path, frames: int, probed: int) -> Iterator[Step]:
    """Write the tables and run everything on them, each step in a process of its own."""
    share = frames / indexes.FRAMES
    faces = sum(round(share * indexes.IMAGES[name]) for name in face_indexes.TEST)
    yield _step("write", f"indexes of {frames:,} frames and {faces:,} faces", write, folder, share, probed)
    yield _step("split", f"{frames:,} frames and {faces:,} faces", split_all, folder)
    yield _step("load", f"{frames:,} frames for a training", columns.load_columns, folder)
    yield _step("draw", f"{columns.DRAWS:,} samples, after loading", columns.draw_columns, folder)
    rows, dims = embedded(folder), face_indexes.EMBEDDING
    yield _step("read", f"embeddings {rows:,} x {dims}", read_embeddings, folder)
    units = len(_units())
    yield _step("probe", f"stage on {rows:,} x {dims} random embeddings, {units} action units", probe_all, folder)
    with tempfile.TemporaryDirectory() as name:
        stages, outputs = placeholders.make(Path(name), "paper")
        what = f"dvc repro, nothing to run: {stages} stages, {outputs} files"
        seconds = placeholders.repro(Path(name))
        yield Step("dvc", what, seconds, apart(dvc_peak_gb, Path(name)).value)
    yield _step("hash", f"MD5 of {HASHED_MB} MB, as DVC takes it of every new file", hash_all)


def _step(name: str, what: str, function: object, *arguments: object) -> Step:
    seconds, peak_gb = apart(function, *arguments)  # pyright: ignore[reportArgumentType]
    return Step(name, what, seconds, peak_gb)


def write(folder: Path, share: float, probed: int) -> float:
    """All tables."""
    start = time.process_time()
    indexes.write_indexes(folder / "tracks", round(share * indexes.FRAMES))
    face_indexes.write(folder / "faces", share, len(_units()))
    face_indexes.write_embeddings(folder / "embeddings", folder / "faces", probed)
    return time.process_time() - start


def split_all(folder: Path) -> float:
    """The stage `split` with the shares of the profile."""
    params = _paper()
    start = time.process_time()
    split.run(
        tracks=folder / "tracks",
        faces=folder / "faces",
        track_splits=folder / "splits",
        face_splits=folder / "face_splits",
        seed=params.seed,
        track_sets=list(indexes.RELEASES),
        face_sets=list(face_indexes.TEST),
        split=params.split,
    )
    return time.process_time() - start


def embedded(folder: Path) -> int:
    """Number of embeddings."""
    return pq.read_metadata(folder / "embeddings/emotionet.parquet").num_rows


def read_embeddings(folder: Path) -> float:
    """From the disk to one array."""
    start = time.process_time()
    column = tables.read(folder / "embeddings/emotionet.parquet", tables.EMBEDDINGS)["embedding"]
    np.asarray(column.combine_chunks().flatten()).reshape(len(column), -1)
    return time.process_time() - start


def probe_all(folder: Path) -> float:
    """The stage `probe` on EmotioNet alone."""
    params = _paper()
    start = time.process_time()
    probe.run(
        embeddings=folder / "embeddings",
        faces=folder / "faces",
        splits=folder / "face_splits",
        out=folder / "metrics",
        seed=params.seed,
        face_sets=["emotionet"],
        track_sets=[],
        followed=[],
        probe=params.probe,
        dataset=params.dataset,
    )
    return time.process_time() - start


def dvc_peak_gb(folder: Path) -> float:
    """The most memory that DVC held, GB."""
    placeholders.repro(folder)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def hash_all() -> float:
    """MD5 of HASHED_MB, MB by MB."""
    block = np.random.default_rng(0).bytes(10**6)
    digest = hashlib.md5(usedforsecurity=False)
    start = time.process_time()
    for _ in range(HASHED_MB):
        digest.update(block)
    return time.process_time() - start


def _paper() -> config.Params:
    return config.parsed(profile.text("paper", placeholders.ROOT / "profiles"), "profile paper")


def _units() -> Sequence[str]:
    return _paper().dataset["emotionet"].tasks["action_units"].classes


def keep(steps: Sequence[Step], hours: Sequence[estimate.Hours], path: Path) -> None:
    """Steps and hours in one table."""
    about = {"machine": processor(), "commit": current_commit()}
    rows = [{"kind": "measured", **asdict(row), **about} for row in steps]
    rows += [{"kind": "estimated", **asdict(row), **about} for row in hours]
    with files.whole(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), partial)


SCHEMA = pa.schema([
    *((name, pa.string()) for name in ("kind", "step", "what")),
    ("seconds", pa.float64()),
    ("peak_gb", pa.float64()),
    ("cores", pa.int32()),
    ("gpus", pa.int32()),
    ("hours", pa.float64()),  # null if a rate is not measured
    ("limit", pa.string()),
    ("machine", pa.string()),
    ("commit", pa.string()),
])  # fmt: skip


def main(arguments: list[str]) -> None:
    """Command line."""
    wanted = parsed(arguments)
    steps: list[Step] = []
    print(f"{'step':<6} {'s of a processor':>16} {'peak GB':>8}  what")
    for step in rehearse(wanted.folder, wanted.frames, wanted.probed):
        print(f"{step.step:<6} {step.seconds:>16.2f} {step.peak_gb:>8.2f}  {step.what}", flush=True)
        steps.append(step)
    seconds = {step.step: step.seconds for step in steps}
    seconds["split"] /= wanted.frames / indexes.FRAMES
    seconds["probe"] /= embedded(wanted.folder) / indexes.IMAGES["emotionet"]
    name = file_name(processor(), cores())
    rates = estimate.Rates.of(run.RESULTS, name, seconds, HASHED_MB / seconds["hash"], wanted.steps_per_s)
    hours = list(estimate.hours(_paper(), rates))
    print(estimate.table(hours))
    path = wanted.out / "rehearsal" / f"{name}.parquet"
    keep(steps, hours, path)
    print(path)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rehearsal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="folder to write, about 1.5 GB at the whole size")
    parser.add_argument("--frames", type=int, default=indexes.FRAMES, help=f"of tracks (default: {indexes.FRAMES})")
    parser.add_argument("--probed", type=int, default=PROBED, metavar="N", help=f"embeddings (default: {PROBED})")
    parser.add_argument("--steps-per-s", type=float, default=None, metavar="RATE",
                        help="of a GPU at 256 px and batch 8, where none was measured")  # fmt: skip
    parser.add_argument("--out", type=Path, default=run.RESULTS, help="of results (default: benchmarks/results)")
    wanted = parser.parse_args(arguments)
    for name, least in (("frames", FEWEST_FRAMES), ("probed", FEWEST_PROBED)):
        if getattr(wanted, name) < least:
            parser.error(f"--{name} should be at least {least}, so that each split has some, "
                         f"found {getattr(wanted, name)}")  # fmt: skip
    return wanted


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
