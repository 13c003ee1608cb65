"""Everything that `report` reads, for a few methods on small tasks."""

from pathlib import Path

import probe_samples
from media_samples import encoded, noise
from releases import put

from pipelines import profile
from stages import probe, report
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
            tables.write(root / "models" / name / "history.parquet", tables.HISTORY, history, key=["epoch", "split"])
            points = [(10, 0.6 + seed / 10), (20, 0.7), (50, 0.8 + seed / 10)] if learnable else [(0, 0.5)]
            curve = [
                {"dataset": "affectnet", "task": "expression", "metric": "auc", "step": step, "value": value, "n": 40}
                for step, value in points
            ]
            path = root / "metrics" / name / "learning_curves.parquet"
            tables.write(path, tables.LEARNING_CURVES, curve, key=["dataset", "step"])
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
    put(root / "figures" / "images" / "warp.png", encoded(noise(200, 90), ".png"))
    rejects = tables.Rejects("illustrate")
    rejects.add("voxceleb1", "confidence.png", "too few tracks", "none")
    rejects.write(root / "figures" / "rejects.parquet")
    for kind in ("tracks", "faces"):
        tables.Rejects("made").write(root / "splits" / kind / "rejects.parquet")


def folders(root: Path) -> dict[str, Path]:
    """The folders that `report` reads."""
    names = ("tracks", "faces", "splits", "models", "embeddings", "metrics", "sheets", "figures")
    return {name: root / name for name in names}


def run(root: Path, params: Params, out: str = "reports") -> Path:
    report.run(**folders(root), out=root / out, timings=root / ".timings", params=params)
    return root / out
