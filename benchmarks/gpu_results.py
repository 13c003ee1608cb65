"""Make tables of the folder that `benchmarks/on_gpu.sh` left on another machine.

    python -m benchmarks.gpu_results RETURNED --data data

Its rows are kept in benchmarks/results. Its embeddings become tables of the stage `embed` in RETURNED/embeddings, the
probes of their data sets are fitted to them as by the stage `probe`, into RETURNED/metrics, and the means of all
metrics are printed and written to RETURNED/summary.csv.
"""

import argparse
import csv
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import rows, run
from pipelines import profile
from stages import probe
from stages.evaluation import scores
from stages.runtime import command, config, tables
from stages.runtime.errors import UserError
from stages.runtime.params import Params

ROWS, EMBEDDINGS = "rows.jsonl", "embeddings.npz"
SUMMARY = ("dataset", "task", "metric", "better", "model", "value", "ci_low", "ci_high", "n")


def keep_rows(returned: Path, results: Path) -> Path:
    """The table of the machine, with the returned rows in it.

    Raises:
        UserError: the folder has none.
    """
    path = returned / ROWS
    if not path.exists():
        raise UserError(f"{path} is missing: name the folder that benchmarks/on_gpu.sh wrote")
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    table = results / f"{rows.file_name(found[0]['machine'], found[0]['cores'])}.parquet"
    run.merge(found, table)
    return table


def write_embeddings(returned: Path) -> list[str]:
    """Tables of the stage `embed`; returns the names of the models."""
    with np.load(returned / EMBEDDINGS) as file:
        columns: dict[str, NDArray[Any]] = dict(file)
    datasets, ids = columns.pop("datasets"), columns.pop("ids")
    last: dict[str, str] = {}
    for name in sorted(columns):
        model, steps = name.split("/")
        last[model] = steps
    for name, vectors in columns.items():
        model, steps = name.split("/")
        folder = returned / "embeddings" / model
        for dataset in sorted(set(datasets.tolist())):
            of = datasets == dataset
            table = [
                {"sample_id": sample_id, "embedding": vector}
                for sample_id, vector in zip(ids[of].tolist(), vectors[of].astype(np.float32), strict=True)
            ]
            path = (folder if steps == last[model] else folder / "checkpoints" / steps) / f"{dataset}.parquet"
            metadata = {tables.STEPS: str(int(steps))}
            tables.write(path, tables.EMBEDDINGS, table, key=["sample_id"], metadata=metadata)
    return sorted(last)


def fit_probes(returned: Path, model: str, data: Path, params: Params) -> None:
    """Run the stage `probe` on the model's embeddings."""
    folder = returned / "embeddings" / model
    sets = [path.stem for path in folder.glob("*.parquet")]
    probe.run(
        embeddings=folder,
        faces=data / "faces",
        splits=data / "splits" / "faces",
        out=returned / "metrics" / model,
        seed=params.seed,
        face_sets=sets,
        track_sets=[],
        followed=[name for name in params.lists.followed if name in sets],
        probe=params.probe,
        dataset=params.dataset,
    )


def summary(returned: Path, models: list[str]) -> list[dict[str, Any]]:
    """The mean of every metric on the test split, a row for each model."""
    found = [
        {**row, "model": model}
        for model in models
        for row in tables.read(returned / "metrics" / model / "metrics.parquet", tables.SCORES).to_pylist()
        if row["target"] == scores.MEAN and row["split"] == "test"
    ]
    ordered = sorted(found, key=lambda row: (row["dataset"], row["task"], row["metric"], row["model"]))
    return [{name: row[name] for name in SUMMARY} for row in ordered]


def main(arguments: list[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("returned", type=Path, help="folder that on_gpu.sh wrote")
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds faces and splits, as for gpu_pack")
    parser.add_argument("--profile", default="paper", help="whose probes are fitted (default: paper)")
    parser.add_argument("--results", type=Path, default=run.RESULTS, help="folder of the tables of machines")
    wanted = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(keep_rows(wanted.returned, wanted.results))
    if not (wanted.returned / EMBEDDINGS).exists():
        print(f"no {EMBEDDINGS}: the training was cut off, so there are no probes to fit")
        return
    params = config.parsed(profile.text(wanted.profile), wanted.profile)
    models = write_embeddings(wanted.returned)
    for model in models:
        fit_probes(wanted.returned, model, wanted.data, params)
    table = summary(wanted.returned, models)
    with (wanted.returned / "summary.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, SUMMARY)
        writer.writeheader()
        writer.writerows(table)
    for row in table:
        what = f"{row['dataset']} {row['task']}, {row['metric']} ({row['better']} is better)"
        print(f"{what:<60} {row['model']:<10} {row['value']:.4g} [{row['ci_low']:.4g}, {row['ci_high']:.4g}]")


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
