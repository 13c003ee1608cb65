"""All benchmarks: every figure beside that of a named comparison, measured in the same run.

    python -m benchmarks.run                     what this machine can run, at the size of VoxCeleb
    python -m benchmarks.run columns --frames 90000

Prints a line for each comparison and keeps them as a table of this machine in benchmarks/results; rows of benchmarks
that did not run stay. What cannot run here says why.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import indexes
from benchmarks.rows import Row, SkippedError, about, cores, file_name, processor
from stages.runtime import command, files

BENCHMARKS = (
    "columns", "loading", "crop", "workers", "cpu_training", "detection", "embed_video", "probing", "up_to_date",
    "gpu_steps", "gpu_loading", "gpu_probe",
)  # fmt: skip
BROUGHT = ("gpu_training",)  # rows that on_gpu.sh alone makes
LEAST_FRAMES = 20_000  # of fewer people a split has none
RESULTS = Path(__file__).parent / "results"
FIGURES = ("ours", "comparison", "ratio", "peak_gb", "comparison_peak_gb")
SCHEMA = pa.schema([
    *((name, pa.string()) for name in ("benchmark", "what", "unit", "compared_with")),
    *((name, pa.float64()) for name in FIGURES),
    *((name, pa.string()) for name in ("skipped", "machine")),
    ("cores", pa.int32()),
    ("torch", pa.string()),
    ("commit", pa.string()),  # with a plus sign if files were changed
])  # fmt: skip


def main(arguments: list[str]) -> None:
    """Command line."""
    wanted = parsed(arguments)
    rows: list[Row] = []
    for name in wanted.benchmarks or BENCHMARKS:
        for row in measured(name, wanted):
            print(row, flush=True)
            rows.append(row)
    path = wanted.out / f"{file_name(processor(), cores())}.parquet"
    keep(rows, path)
    print(path)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"{', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--frames", type=int, default=indexes.FRAMES, help="of the tables (default: 9 million)")
    parser.add_argument("--images", type=int, default=10_000, help="that a probe is fitted to (default: 10000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256], metavar="PX", help="inputs of the network")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default: benchmarks/results)")
    wanted = parser.parse_args(arguments)
    if wanted.frames < LEAST_FRAMES:
        parser.error(
            f"--frames should be at least {LEAST_FRAMES}, so that each split has people, found {wanted.frames}"
        )
    unknown = sorted(set(wanted.benchmarks) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark called {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    return wanted


def measured(name: str, wanted: argparse.Namespace) -> Iterator[Row]:
    """The rows of one benchmark, or one that says why there are none."""
    try:
        yield from import_module(f"benchmarks.{name}").compare(wanted)
    except SkippedError as error:
        yield Row(name, "", "", "", skipped=str(error))


def keep(rows: Sequence[Row], path: Path) -> None:
    """Write the rows beside those of other benchmarks, see `merge`."""
    machine = about()
    merge([{**asdict(row), "ratio": row.ratio, **machine} for row in rows], path)


def merge(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows of SCHEMA beside those of the benchmarks that did not run; rows of benchmarks that are no more go."""
    others = {*BENCHMARKS, *BROUGHT} - {row["benchmark"] for row in rows}
    kept = [row for row in pq.read_table(path).to_pylist() if row["benchmark"] in others] if path.exists() else []
    with files.whole(path) as partial:
        pq.write_table(pa.Table.from_pylist(sorted([*kept, *rows], key=lambda row: row["benchmark"]), SCHEMA), partial)


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
