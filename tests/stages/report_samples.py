"""Everything that `report` reads, for a few methods on small tasks; and its content for many on all data sets."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import probe_samples
from media_samples import encoded, noise
from releases import put

from pipelines import profile
from stages import probe, report
from stages.evaluation import scores
from stages.evaluation.scores import Predictions
from stages.reporting import results
from stages.reporting.page import Content
from stages.reporting.results import Tested
from stages.runtime import config, tables
from stages.runtime.params import Params

ROOT = Path(__file__).parents[2]
SEEDS = [0, 1]
METHODS = ["fabnet", "random"]


def parameters(**changes: object) -> Params:
    """The sample profile with the small tasks of `probe_samples`."""
    sample = config.parsed(profile.text("sample", ROOT / "profiles"), "sample")
    dataset = {**sample.dataset, **probe_samples.SETTINGS}
    faces = {"detected_sets": ["affectnet"], "boxed_sets": ["w300"]}
    small: dict[str, object] = {
        "lists": sample.lists.model_copy(update=faces),
        "methods": ["fabnet", "random"],
        "seeds": SEEDS,
        "dataset": dataset,
        "probe": probe_samples.PARAMS,
    }
    method = {name: sample.method[name] for name in METHODS}
    return sample.model_copy(update=small | {"method": method} | changes)


def write_inputs(root: Path, params: Params) -> None:
    """Everything that `report` reads; `random` is worse than `fabnet`."""
    for method in params.methods:
        for seed in params.seeds:
            name = f"{method}-{seed}"
            learnable = method != "random"
            paths = probe_samples.write_tree(root, method=name, learnable=learnable, seed=seed)
            probe.run(
                **paths,
                out=root / "metrics" / name,
                seed=params.seed,
                face_sets=params.face_sets,
                track_sets=params.track_sets,
                followed=["w300"],
                probe=params.probe,
                dataset=params.dataset,
            )
            history = [
                {"epoch": epoch, "step": 10 * epoch, "split": split, "metric": "loss", "value": (1 + seed) / epoch}
                for epoch in (range(1, 6) if learnable else ())
                for split in ("train", "val")
            ]
            for step, rank in ((0, 30.0), (50, 10.0)) if learnable else ():
                at = {"epoch": step // 10, "step": step, "split": "val"}
                measures = {
                    "effective_rank": rank + seed,
                    "watched_frames": 100.0,
                    "dead_share": 0.0,
                    "never_positive_share": 0.4,
                }
                history += [{**at, "metric": metric, "value": value} for metric, value in measures.items()]
            path = root / "models" / name / "history.parquet"
            tables.write(path, tables.HISTORY, history, key=["epoch", "split", "metric"])
            points = [(10, 0.6 + seed / 10), (20, 0.7), (50, 0.8 + seed / 10)] if learnable else [(0, 0.5)]
            curve = [
                {"dataset": "affectnet", "task": "expression", "metric": "auc", "step": step, "value": value,
                 "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 40, "groups": 40, "is_converged": step != 20}
                for step, value in points
            ]  # fmt: skip
            path = root / "metrics" / name / "learning_curves.parquet"
            tables.write(path, tables.LEARNING_CURVES, curve, key=["dataset", "step"])
            write_sensitivity(root / "sensitivity" / name, value=0.8 - seed / 10 if learnable else 0.5)
            tables.Rejects("made").write(root / "models" / name / "rejects.parquet")
            tables.Rejects("made").write(root / "embeddings" / name / "rejects.parquet")
    for dataset in params.track_sets:
        rows = [{"sample_id": f"id{n}/v/t/{n}", "group_id": f"id{n // 2}", "split": "train"} for n in range(6)]
        tables.write(root / "splits" / "tracks" / f"{dataset}.parquet", tables.SPLITS, rows, key=["sample_id"])
        rejects = tables.Rejects("crop")
        for n in range(3):
            rejects.add(dataset, f"<b>{n}", "clip is damaged or cut short", str(n))
        rejects.write(root / "tracks" / dataset / "rejects.parquet")
    for dataset in params.face_sets:
        tables.Rejects("made").write(root / "faces" / dataset / "rejects.parquet")
    for dataset in params.detected_sets:
        rows = [{"owner_split": "test", "upsample": 0, "images": 4000, "detected": 3900}]
        rows += [{"owner_split": "test", "upsample": 1, "images": 100, "detected": 60}]
        tables.write(root / "faces" / dataset / "yield.parquet", tables.YIELDS, rows, key=["owner_split", "upsample"])
    for dataset in params.datasets:
        for kind in ("accepted", "rejected"):
            put(root / "sheets" / dataset / f"{kind}.png", encoded(noise(200, 90), ".png"))
    write_framing(root / "framing", params)
    put(root / "figures" / "images" / "warp.png", encoded(noise(200, 90), ".png"))
    rejects = tables.Rejects("illustrate")
    rejects.add("voxceleb1", "confidence.png", "too few tracks", "none")
    rejects.write(root / "figures" / "rejects.parquet")
    tables.write(root / "splits" / "faces" / "copies.parquet", tables.COPIES, [], key=["dataset", "sample_id"])
    for kind in ("tracks", "faces"):
        tables.Rejects("made").write(root / "splits" / kind / "rejects.parquet")


def write_framing(folder: Path, params: Params) -> None:
    """What `measure` writes: faces are as large as in training but in `w300`, where they take 0.9 instead of 0.6."""
    rows: list[dict[str, Any]] = []
    for name in ("all", *params.datasets):
        kind = "still images" if name in params.face_sets else "face tracks"
        face_frac = 0.9 if name == "w300" else 0.6
        row: dict[str, Any] = {"kind": kind, "dataset": name, "n": 58, "missed": 2, "is_apart": name == "w300"}
        for column, value in (("face_frac", face_frac), ("x_frac", 0.5), ("y_frac", 0.47)):
            row |= {column: value, f"{column}_q1": value - 0.04, f"{column}_q3": value + 0.03}
        rows.append({**row, "difference": face_frac / 0.6 - 1})
    tables.write(folder / "framing.parquet", tables.FRAMING, rows, key=["kind", "dataset"])
    tables.Rejects("measure").write(folder / "rejects.parquet")


def write_sensitivity(folder: Path, *, value: float) -> None:
    """An AUC that falls by 0.1 at every change of the crop."""
    of = {"dataset": "affectnet", "task": "expression", "metric": "auc", "better": "higher", "n": 40}
    rows: list[dict[str, Any]] = []
    for scale, shift, change in ((0.8, 0.0, -0.1), (1.0, 0.0, 0.0), (1.0, 0.1, -0.1)):
        at = {"scale": scale, "shift": shift, "value": value + change, "ci_low": 0.2, "ci_high": 0.9}
        rows.append({**of, **at, "change": change, "change_ci_low": change - 0.1, "change_ci_high": change + 0.1})
    tables.write(folder / "sensitivity.parquet", tables.SENSITIVITY, rows, key=["scale", "shift"])
    tables.Rejects("made").write(folder / "rejects.parquet")


def folders(root: Path) -> dict[str, Path]:
    """The folders that `report` reads."""
    names = (
        "tracks", "faces", "splits", "models", "embeddings", "metrics", "sensitivity", "sheets", "framing", "figures",
    )  # fmt: skip
    return {name: root / name for name in names}


def run(root: Path, params: Params, out: str = "reports") -> Path:
    report.run(**folders(root), out=root / out, timings=root / ".timings", params=params)
    return root / out


def crowded(profile_name: str = "study", *, seeds: int = 1) -> Content:
    """The content of a report on up to eleven methods; earlier ones are better, and identities are few."""
    params = config.parsed(profile.text(profile_name, ROOT / "profiles"), profile_name)
    if len(params.methods) > 11:  # the controls, which come last, are among them
        params = params.model_copy(update={"methods": [*params.methods[:8], *params.methods[-3:]]})
    probed = params.probe.model_copy(update={"bootstrap": 60})
    params = params.model_copy(update={"probe": probed, "seeds": list(range(seeds))})
    tasks = list(_tested(params))
    pooled = list(results.pooled_rows(tasks, params))
    source = {"profile": params.profile, "config_hash": "0" * 12, "code_hash": "1" * 12, "published": None}
    sweep = {"dataset": "w300", "task": "landmarks", "l2": 1.0, "edge": "largest", "is_converged": True}
    return Content(
        params=params,
        config_hash="0" * 12,
        code_hash="1" * 12,
        rows=[{**row, **source} for row in pooled],
        seed_rows=[{**row, **source} for row in _seed_rows(tasks, params)],
        own_heads=[],
        tasks=tasks,
        differences=list(results.differences(tasks, params)),
        leads=list(results.leads(tasks, pooled, params)),
        counts=[],
        copies=[],
        probe_rejects=[],
        yields=[],
        framing=[],
        sheets=[],
        sensitivity=[],
        rejects=[],
        sweeps=[{"method": run.method, "seed": run.seed, **sweep} for run in results.expected_runs(params)],
        few_shot=[],
        parts=[],
        part_differences=[],
        further_probes={},
        loss_curves=[],
        learning_curves=[],
        health=[],
        illustrations={},
        versions={},
    )


def _tested(params: Params) -> Iterator[Tested]:
    """Predictions for 120 images of every task and for 4 identities; the noise grows from method to method."""
    rng = np.random.default_rng(3)
    noise = {"angle_error_deg": 3.0, "interocular_percent": 2.0}
    tasks = [
        (dataset, name, task.metrics, task.classes)
        for dataset in params.face_sets
        for name, task in sorted(params.dataset[dataset].tasks.items())
    ]
    for dataset, name, metrics, classes in [
        *tasks,
        *((*task, [scores.IDENTITY], []) for task in results.identity_tasks(params)),
    ]:
        truth, size = _truth(metrics, classes, rng), noise.get(metrics[0], 0.4)
        of_run = {
            run: truth + size * (1 + params.methods.index(run.method) / 5) * rng.normal(size=truth.shape)
            for run in results.expected_runs(params)
        }
        predictions = {run: Predictions(truth, said, tuple(classes)) for run, said in of_run.items()}
        yield Tested(dataset, name, metrics, classes, np.full(len(truth), ""), predictions)


def _truth(metrics: Sequence[str], classes: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    if metrics[0] == scores.IDENTITY:
        return rng.uniform(0, 1, (4, 1))
    if not classes:
        return np.tile(probe_samples.mean_face(), (120, 1))
    if "angle_error_deg" in metrics:
        return rng.uniform(-40, 40, (120, len(classes)))
    if "f1" in metrics:
        return (rng.random((120, len(classes))) < 0.4).astype(float)
    return np.eye(len(classes))[rng.integers(len(classes), size=120)]


def _seed_rows(tasks: list[Tested], params: Params) -> Iterator[dict[str, Any]]:
    for seed in params.seeds:
        of_seed = [
            Tested(
                task.dataset, task.task, task.metrics, task.classes, task.subset,
                {run: of_run for run, of_run in task.of_run.items() if run.seed == seed},
            )
            for task in tasks
        ]  # fmt: skip
        yield from ({**row, "seed": seed} for row in results.pooled_rows(of_seed, params))
