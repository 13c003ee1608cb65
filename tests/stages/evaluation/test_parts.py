import json
from pathlib import Path
from typing import Any

import probe_samples
import pyarrow.parquet as pq
import pytest

from stages import probe
from stages.runtime import tables

PARTS = {"told": (0, 6), "rest": (6, 12)}  # labels follow from the first six dimensions


def name_parts(paths: dict[str, Path], parts: dict[str, tuple[int, int]]) -> None:
    """As `embed` names them in its tables."""
    for path in paths["embeddings"].glob("*.parquet"):
        table = pq.read_table(path)
        said = {**(table.schema.metadata or {}), tables.PARTS.encode(): json.dumps(parts).encode()}
        pq.write_table(table.replace_schema_metadata(said), path)


def run(root: Path, parts: dict[str, tuple[int, int]]) -> Path:
    paths = probe_samples.write_tree(root)
    if parts:
        name_parts(paths, parts)
    probe.run(
        **paths,
        out=root / "out",
        seed=7,
        face_sets=["affectnet", "w300"],
        track_sets=["voxceleb1"],
        followed=[],
        probe=probe_samples.PARAMS,
        dataset=probe_samples.SETTINGS,
    )
    return root / "out"


def rows(out: Path) -> list[dict[str, Any]]:
    return tables.read(out / "parts.parquet", tables.PART_SCORES).to_pylist()


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("parts"), PARTS)


def values(out: Path, part: str) -> dict[tuple[str, str], float]:
    return {(row["task"], row["metric"]): row["value"] for row in rows(out)
            if (row["part"], row["target"]) == (part, "mean")}  # fmt: skip


def test_a_part_that_holds_the_labels_predicts_them_and_another_does_not(scored: Path):
    told, rest = values(scored, "told"), values(scored, "rest")
    assert told["expression", "auc"] > 0.95
    assert rest["expression", "auc"] == pytest.approx(0.5, abs=0.15)
    assert told["landmarks", "interocular_percent"] < 0.4 * rest["landmarks", "interocular_percent"]


def test_every_part_has_every_task_and_metric_of_the_whole(scored: Path):
    whole = tables.read(scored / "metrics.parquet", tables.SCORES).to_pylist()
    expected = {(row["dataset"], row["task"], row["metric"], row["target"]) for row in whole if row["split"] == "test"}
    for part in PARTS:
        assert {
            (row["dataset"], row["task"], row["metric"], row["target"]) for row in rows(scored) if row["part"] == part
        } == expected


def test_the_whole_embedding_as_a_part_has_the_scores_of_the_whole(tmp_path: Path):
    out = run(tmp_path, {"all": (0, probe_samples.DIMS)})
    whole = tables.read(out / "metrics.parquet", tables.SCORES).to_pylist()
    found = rows(out)
    assert {row.pop("is_converged") for row in found} == {True, None}  # neighbours have no head
    assert [{**row, "part": "all"} for row in whole if row["split"] == "test"] == found


def test_a_part_is_compared_with_the_other_one_on_the_same_images(scored: Path):
    found = tables.read(scored / "part_differences.parquet", tables.PART_DIFFERENCES).to_pylist()
    assert {(row["part"], row["other"]) for row in found} == {("told", "rest")}
    told, rest = values(scored, "told"), values(scored, "rest")
    of_task = {row["task"]: row for row in found}
    assert set(of_task) == {task for task, _ in told}
    for task, metric, is_better in (("expression", "auc", 1), ("landmarks", "interocular_percent", -1)):
        row = of_task[task]
        assert row["value"] == pytest.approx(told[task, metric] - rest[task, metric])
        assert min(is_better * row["ci_low"], is_better * row["ci_high"]) > 0


def test_an_embedding_without_parts_has_no_rows(tmp_path: Path):
    out = run(tmp_path, {})
    assert rows(out) == []
    assert not len(tables.read(out / "part_differences.parquet", tables.PART_DIFFERENCES))
