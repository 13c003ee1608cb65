import csv
import json
import re
import shutil
import struct
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import probe_samples
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from report_samples import folders, parameters, run, write_inputs
from ruamel.yaml import YAML

from stages import probe, report
from stages.evaluation import scores
from stages.reporting import contents, framing, page, results
from stages.reporting.contents import Converged
from stages.reporting.health import Health
from stages.reporting.page import Content, Figures
from stages.runtime import config, stopwatch, tables
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
HEALTHY = {"watched_frames": 100.0, "effective_rank": 12.0, "dead_share": 0.0, "never_positive_share": 0.4}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_inputs(root, parameters())
    return root


@pytest.fixture(scope="module")
def written(inputs: Path) -> Path:
    return run(inputs, parameters())


def shown(path: Path) -> str:
    """The text of an HTML page, words apart by one space."""
    found = References()
    found.feed(path.read_text(encoding="utf-8"))
    return " ".join(" ".join(found.text).split())


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_of(out: Path) -> list[dict[str, object]]:
    return tables.read(out / "metrics.parquet", tables.METRICS).to_pylist()


def test_every_method_has_rows_per_seed_and_pooled(written: Path):
    rows = rows_of(written)
    assert {(row["method"], row["seed"]) for row in rows} == {
        (method, seed) for method in ("fabnet", "random") for seed in (0, 1, None)
    }
    params = parameters()
    assert {row["config_hash"] for row in rows} == {config.digest(params)}
    assert {row["profile"] for row in rows} == {"sample"}
    keys = [tuple(row[n] for n in ("dataset", "task", "method", "seed", "split", "target", "metric")) for row in rows]
    assert len(set(keys)) == len(keys) == 2 * 3 * (4 + 1 + 4 + 3 * 6 + 2)


def test_a_pooled_value_is_the_mean_over_seeds(written: Path):
    rows = rows_of(written)
    for method in ("fabnet", "random"):
        found = {
            row["seed"]: row["value"]
            for row in rows
            if (row["method"], row["metric"], row["target"], row["split"])
            == (method, "interocular_percent", "mean", "test")
        }
        assert found[None] == pytest.approx((found[0] + found[1]) / 2)


def test_the_page_shows_the_range_of_values_over_seeds_if_there_are_several(content: Content):
    names = ("dataset", "task", "metric", "split", "target", "method")
    wanted = ("w300", "landmarks", "interocular_percent", "test", "mean", "fabnet")
    values = sorted(row["value"] for row in content.seed_rows if tuple(row[name] for name in names) == wanted)
    assert len(values) == 2
    assert f"<span>seeds</span> <span>{values[0]:.2f} to {values[1]:.2f}</span>" in page_of(content)
    assert "<span>seeds</span>" not in page_of(content, seeds=[0])


def test_intervals_hold_their_value_and_order_the_methods(written: Path):
    pooled = {
        row["method"]: row for row in rows_of(written)
        if row["seed"] is None and (row["metric"], row["target"]) == ("auc", "mean")
    }  # fmt: skip
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows_of(written))
    assert pooled["random"]["ci_high"] < pooled["fabnet"]["ci_low"]


@pytest.fixture(scope="module")
def content(inputs: Path) -> Content:
    return report.collect(report.Folders(**folders(inputs)), parameters())


def page_of(content: Content, **params: object) -> str:
    """The page without figures, with other parameters."""
    changed = replace(content, params=content.params.model_copy(update=params))
    return page.render(changed, Figures(b"", b"", b"", b"", {}, {}))


@pytest.fixture(scope="module")
def elsewhere(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the same inputs in another folder, where stages were timed."""
    root = tmp_path_factory.mktemp("elsewhere") / "data"
    shutil.copytree(inputs, root)
    timing = stopwatch.Timing(wall_s=7300, cpu_s=14_601, peak_mb=1234.5, device="GPU 9000", ended="2026-11-27T05:00:00")
    for name in ("pretrain@fabnet-0", "pretrain@other-0"):  # the second one is not a run of these parameters
        stopwatch.keep(timing, name, root / ".timings")
    return run(root, parameters(), "again")


def test_all_files_but_the_machine_page_have_the_same_bytes_in_another_folder_and_with_other_times(
    written: Path, elsewhere: Path
):
    names = sorted(str(path.relative_to(written)) for path in written.rglob("*") if path.is_file())
    assert names == [
        "crop_scale.png", "crop_sensitivity.parquet", "crop_shift.png", "differences.parquet", "few_shot.parquet",
        "health.png", "health/dead_share.csv", "health/effective_rank.csv", "health/never_positive_share.csv",
        "learning_curves.png", "learning_curves/affectnet-expression.csv", "loss_curves.csv", "loss_curves.png",
        "machine.html", "metrics.parquet", "metrics/fabnet.json", "metrics/random.json", "own_heads.parquet",
        "report.html", "roc_pr/affectnet-expression.png", "summary.png",
    ]  # fmt: skip
    differ = [name for name in names if (written / name).read_bytes() != (elsewhere / name).read_bytes()]
    assert differ == ["machine.html"]


def test_the_machine_page_shows_the_times_of_the_stages_of_these_parameters(written: Path, elsewhere: Path):
    text = shown(elsewhere / "machine.html")
    assert "pretrain 1 2:01:40 4:03:21 2:01:40 1,234 MB GPU 9000 2026-11-27 05:00" in text
    assert "other-0" not in text
    assert "No stage was timed" in shown(written / "machine.html")


def test_every_table_of_the_page_can_be_reached_from_its_contents(written: Path):
    references = References()
    references.feed((written / "report.html").read_text(encoding="utf-8"))
    assert {"#answers", "#results", "#detail", "#rejects", "#effort", "#settings"} <= set(references.loaded)
    assert len(set(references.places)) == len(references.places)


def test_the_json_of_a_method_holds_the_headline_of_every_task_on_the_whole_test_split(written: Path):
    found = json.loads((written / "metrics" / "fabnet.json").read_text(encoding="utf-8"))
    headlines = {
        ("affectnet", "expression", "auc"),
        ("affectnet", "retrieval", "neighbour_recall"),
        ("voxceleb1", "identity_leakage", "identity_leakage"),
        ("voxceleb2", "identity_leakage", "identity_leakage"),
        ("w300", "landmarks", "interocular_percent"),
    }
    expected = {
        (row["dataset"], row["task"]): pytest.approx(row["value"], abs=1e-6) for row in rows_of(written)
        if (row["method"], row["seed"], row["split"], row["target"]) == ("fabnet", None, "test", "mean")
        and (row["dataset"], row["task"], row["metric"]) in headlines
    }  # fmt: skip
    assert {(name, task): value for name, tasks in found.items() for task, value in tasks.items()} == expected
    assert len(expected) == len(headlines)


def test_positives_of_a_class_are_told_from_what_its_values_are_over(written: Path):
    rows = [row for row in rows_of(written) if row["dataset"] == "affectnet" and row["target"] in probe_samples.CLASSES]
    of_class = {(row["metric"], row["target"]): (row["n"], row["positives"]) for row in rows}
    for name in probe_samples.CLASSES:
        images = of_class["neighbour_recall", name][0]
        assert of_class["auc", name] == (60, images)
        cell = f'<td class="n count" data-label="n">60<span class="ci">{images} positive</span></td>'
        assert cell in (written / "report.html").read_text(encoding="utf-8")
    assert sum(of_class["neighbour_recall", name][0] for name in probe_samples.CLASSES) == 60


def test_the_loss_curve_is_the_mean_over_seeds_of_every_trained_method(written: Path):
    rows = table_of(written / "loss_curves.csv")
    assert [float(row["val_loss"]) for row in rows] == pytest.approx([1.5 / epoch for epoch in range(1, 6)])
    assert {row["method"] for row in rows} == {"fabnet"}


def test_the_metadata_has_schema_configuration_and_versions(written: Path):
    metadata = pq.read_schema(written / "metrics.parquet").metadata
    assert metadata[b"schema_version"] == tables.SCHEMA_VERSION.encode()
    assert metadata[b"config_hash"] == config.digest(parameters()).encode()
    assert {b"code_hash", b"torch", b"numpy"} <= set(metadata)
    assert b"python" not in metadata


class References(HTMLParser):
    """Collects whatever a browser would load or jump to, the places to jump to, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.places: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.places += [f"#{value}" for name, value in attrs if name == "id"]
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert tag not in ("script", "iframe", "object", "embed", "b>0")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_self_contained_and_escapes_names(written: Path):
    text = (written / "report.html").read_text(encoding="utf-8")
    references = References()
    references.feed(text)
    assert references.loaded
    beyond = [value for value in references.loaded if not value.startswith("data:") and value not in references.places]
    assert beyond == ["machine.html"]  # a link
    assert "url(" not in text
    assert "@import" not in text
    assert "<b>0" in "".join(references.text)  # a key from the data, shown as it is and not taken for a tag


def test_the_page_shows_results_counts_rejects_and_settings(written: Path):
    text = shown(written / "report.html")
    assert "affectnet · expression" in text
    assert "voxceleb1 face tracks train 6 3 –" in text
    assert "w300 still images test 60 60 689" in text
    assert "crop voxceleb1 clip is damaged or cut short 3" in text
    assert config.digest(parameters()) in text
    assert "interocular_percent" in text
    assert "All numbers on this page are for synthetic faces" in text


def test_every_run_has_rows_for_each_change_of_the_crop(written: Path):
    rows = tables.read(written / "crop_sensitivity.parquet", tables.CROP_SENSITIVITY).to_pylist()
    assert {(row["method"], row["seed"], row["scale"], row["shift"]) for row in rows} == {
        (method, seed, *change)
        for method in ("fabnet", "random") for seed in (0, 1) for change in ((0.8, 0), (1.0, 0), (1.0, 0.1))
    }  # fmt: skip
    assert {row["config_hash"] for row in rows} == {config.digest(parameters())}
    assert "Crop sensitivity" in shown(written / "report.html")


def test_figures_are_png_of_a_readable_size(written: Path):
    for name in (
        "summary.png",
        "loss_curves.png",
        "crop_scale.png",
        "health.png",
        "learning_curves.png",
        "roc_pr/affectnet-expression.png",
    ):
        data = (written / name).read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert data.startswith(b"\x89PNG")
        assert 300 < min(height, width) < max(height, width) < 3000


def test_results_of_other_methods_and_seeds_do_not_change_a_byte(inputs: Path, tmp_path: Path):
    fewer = parameters(methods=["fabnet"], seeds=[0])
    others = shutil.ignore_patterns("random-*", "*-1")
    alone = run(Path(shutil.copytree(inputs, tmp_path / "alone", ignore=others)), fewer)
    beside = run(Path(shutil.copytree(inputs, tmp_path / "beside")), fewer)
    assert not (tmp_path / "alone" / "metrics" / "random-0").exists()
    assert (tmp_path / "beside" / "metrics" / "random-0").exists()
    names = sorted(path.relative_to(alone) for path in alone.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(beside) for path in beside.rglob("*") if path.is_file())
    assert [name for name in names if (alone / name).read_bytes() != (beside / name).read_bytes()] == []


def test_a_missing_table_is_an_error_that_names_it(inputs: Path):
    with pytest.raises(UserError, match=r"fabnet-2/metrics.parquet is missing: run `dvc repro`"):
        run(inputs, parameters(seeds=[0, 1, 2]), "refused")


def test_scores_of_a_task_that_is_not_configured_are_an_error(inputs: Path):
    changed = {**parameters().dataset}
    changed["w300"] = changed["w300"].model_copy(update={"tasks": {}})
    with pytest.raises(UserError, match="has rows of a task that is not configured: w300 landmarks"):
        run(inputs, parameters(dataset=changed), "refused")


def test_only_the_profile_paper_has_published_values(inputs: Path, content: Content):
    assert all(row["published"] is None for row in (*content.rows, *content.seed_rows))
    assert "published, FAb-Net" not in page_of(content)
    paper = report.collect(report.Folders(**folders(inputs)), parameters(profile="paper"))
    published = [row for row in (*paper.rows, *paper.seed_rows) if row["published"] is not None]
    assert {row["published"] for row in published} == {5.71}
    assert {(row["method"], row["task"], row["split"], row["target"]) for row in published} == {
        ("fabnet", "landmarks", "test", "mean")
    }
    ours = next(row for row in published if row["seed"] is None)["value"]
    assert f'5.71<span class="ci">fabnet {ours - 5.71:+.2f}</span>' in page_of(paper)


def test_differences_to_both_controls_are_in_a_table_and_use_shared_images(written: Path):
    rows = tables.read(written / "differences.parquet", tables.DIFFERENCES).to_pylist()
    found = {(row["method"], row["control"], row["task"]): row for row in rows}
    assert set(found) == {
        (*pair, task)
        for pair in (("fabnet", "random"), ("random", "fabnet"))
        for task in ("expression", "landmarks", "retrieval", "identity_leakage")
    }
    assert found["fabnet", "random", "expression"]["ci_low"] > 0
    assert found["fabnet", "random", "landmarks"]["ci_high"] < 0
    for task in ("expression", "landmarks"):
        there, back = found["fabnet", "random", task], found["random", "fabnet", task]
        assert back["value"] == pytest.approx(-there["value"])
        assert (there["n"], there["config_hash"]) == (60, config.digest(parameters()))
        key = (None, task, there["metric"], "mean", "test")
        names = ("seed", "task", "metric", "target", "split")
        pooled = {row["method"]: row["value"] for row in rows_of(written) if tuple(row[name] for name in names) == key}
        assert there["value"] == pytest.approx(pooled["fabnet"] - pooled["random"])


def test_the_leads_are_those_of_the_best_method_over_every_other_one(content: Content):
    keys = {(row["dataset"], row["task"], row["metric"]): row for row in content.leads}
    assert len(keys) == len(content.leads) == 6  # metrics of every task; two methods
    for key, lead in keys.items():
        values = {
            row["method"]: row["value"]
            for row in content.rows
            if (row["dataset"], row["task"], row["metric"], row["target"], row["split"]) == (*key, "mean", "test")
        }
        best = (max if scores.METRICS[key[2]].higher_is_better else min)(values, key=lambda method: values[method])
        assert lead["method"] == best
        assert lead["value"] == pytest.approx(values[best] - values[lead["control"]])


def test_the_page_shows_differences_to_both_controls(written: Path):
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "minus <code>random</code>, the untrained encoder" in text
    assert "minus <code>fabnet</code>" in text


def test_the_page_says_first_which_method_wins_on_landmarks_and_whether_it_is_real(written: Path, content: Content):
    text = shown(written / "report.html")
    rows = {row["method"]: row for row in content.rows if (row["task"], row["target"]) == ("landmarks", "mean")}
    value = f"{rows['fabnet']['value']:.2f} % of inter-ocular distance"
    said = re.search(
        r"w300 On landmarks fabnet is best, error (.*?) \[.*?\] on (.*?); its lead is real: (.*?)\.(?!\d)", text
    )
    assert said is not None
    assert said.group(1, 2) == (value, "60 images")
    lead = next(row for row in content.leads if row["task"] == "landmarks")
    assert said.group(3).strip() == f"{-lead['value']:.2f} [{-lead['ci_high']:.2f}, {-lead['ci_low']:.2f}] over random"
    assert text.index("On landmarks fabnet is best") < text.index("Test results")


def test_methods_without_weights_are_one_line_below_the_table(content: Content):
    assert "no weight file is named" not in page_of(content)
    added = {"vggface": {"weights": "", "weights_sha256": ""}, "other": {"weights": "here.pth"}, "own": {"weights": ""}}
    text = page_of(content, method=content.params.method | added)
    assert "weights</code>): <code>own</code>, <code>vggface</code>.</p>" in text
    assert "<code>other</code>" not in text


def test_every_row_of_the_results_has_its_n_and_few_are_marked(content: Content):
    rows = {
        (title, note): (n, mark)
        for title, note, n, mark in re.findall(
            r'<tr><th scope="row">(\S+ · \S+?)<span class="ci">(.*?)</span></th>'
            r'<td class="n count" data-label="n">(\d+)(<abbr title="fewer than 30.*?">†</abbr>)?</td>',
            page_of(content).replace("<wbr>", ""),
        )
    }
    few_shot = [note for _, note in rows if "shots: " in note]
    assert (len(few_shot), len(rows) - len(few_shot)) == (3 * 2, 4 + 2)  # metrics of still images, and both track sets
    assert rows["w300 · landmarks", "error, % of inter-ocular distance ↓"] == ("60", "")
    count, mark = next(value for (title, _), value in rows.items() if title.startswith("voxceleb1"))
    assert int(count) < 30
    assert mark


def test_a_regularisation_at_the_edge_of_its_sweep_is_told(content: Content):
    text = " ".join(page_of(content, seeds=[0]).split())
    edges = [row for row in content.sweeps if row["edge"]]
    assert bool(edges) == ("at the edge of the sweep" in text)
    at_edge = [{**row, "l2": 1.0, "edge": "largest"} for row in content.sweeps[:1]]
    text = page_of(replace(content, sweeps=[*at_edge, *({**row, "edge": ""} for row in content.sweeps[1:])]))
    assert f"of 1 of {len(content.sweeps)} probes is at the edge of the sweep (the largest, 1, in 1)" in text
    assert text.count('class="n edge"') == 1


def test_few_shot_probes_have_a_table_of_means_and_a_place_on_the_page(written: Path, content: Content):
    rows = tables.read(written / "few_shot.parquet", tables.FEW_SHOT_MEANS).to_pylist()
    assert {(row["method"], row["shots"], row["draws"]) for row in rows} == {
        (method, shots, 2) for method in ("fabnet", "random") for shots in (2, 10)
    }
    of_landmarks = {(row["method"], row["shots"]): row for row in rows if row["task"] == "landmarks"}
    assert {row["images"] for (_, shots), row in of_landmarks.items() if shots == 10} == {10}
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    text = page_of(content)
    assert text.index('id="few_shot"') > text.index('id="detail"')
    assert "10 shots: error, % of inter-ocular distance ↓" in text


def test_a_probe_that_did_not_converge_is_told(content: Content):
    content = replace(content, further_probes={})
    assert "did not converge" not in page_of(content)
    stopped = {**content.sweeps[0], "edge": "", "is_converged": False}
    text = page_of(replace(content, sweeps=[stopped, *({**row, "edge": ""} for row in content.sweeps[1:])]))
    assert f"1 of {len(content.sweeps)} probes did not converge" in text
    assert text.count('class="n edge"') == 1


def test_probes_of_curves_shots_and_parts_that_did_not_converge_are_counted(content: Content):
    found = content.further_probes
    assert found["learning curves"] == (2, 4)  # of two seeds, the one at step 20 did not; the last is in the sweeps
    assert (found["few shots"].all, found["parts of embeddings"].all) == (2 * 2 * 2 * 2 * 2, 0)
    text = page_of(replace(content, further_probes={**found, "few shots": Converged(32, 32)}))
    assert "Of further probes, 2 of 4 for learning curves did not converge" in text


def test_a_learning_curve_is_the_mean_over_seeds_beside_the_untrained_encoder(written: Path):
    rows = table_of(written / "learning_curves" / "affectnet-expression.csv")
    names = ("step", "value", "ci_low", "ci_high")
    found = [(row["method"], row["metric"], *(float(row[name]) for name in names)) for row in rows]
    expected = [
        ("fabnet", "auc", 10, 0.65, 0.55, 0.75),
        ("fabnet", "auc", 20, 0.7, 0.6, 0.8),
        ("fabnet", "auc", 50, 0.85, 0.75, 0.95),
        ("random", "auc", 0, 0.5, 0.4, 0.6),
    ]
    assert [line[:3] for line in found] == [line[:3] for line in expected]
    assert [line[3:] for line in found] == [pytest.approx(line[3:]) for line in expected]


def test_the_health_of_a_training_is_the_mean_over_seeds(written: Path):
    rows = table_of(written / "health" / "effective_rank.csv")
    assert [(row["method"], int(row["step"]), float(row["value"])) for row in rows] == [
        ("fabnet", 0, pytest.approx(30.5)),
        ("fabnet", 50, pytest.approx(10.5)),
    ]


def test_a_training_that_has_collapsed_is_told_first(written: Path, content: Content):
    assert "lost its embedding" not in shown(written / "report.html")
    lost = Health("fabnet", 1, {0: {**HEALTHY, "effective_rank": 1.2}, 50: {**HEALTHY, "dead_share": 0.7}})
    solved = Health("pca", 0, {0: {**HEALTHY, "dead_share": 0.9}})
    text = " ".join(page_of(replace(content, health=[lost, solved])).split())
    reason = "70% of the dimensions have almost no variance, more than 50%"
    assert f"A training has lost its embedding. fabnet, seed 1: {reason}. <a" in text
    several = page_of(replace(content, health=[lost, replace(lost, seed=2)]))
    assert f"Trainings have lost their embedding. fabnet, seed 1: {reason}; fabnet, seed 2: {reason}." in several


def test_what_makes_numbers_doubtful_is_told_first(written: Path, content: Content):
    assert "by a perceptual hash of it: none." in shown(written / "report.html")
    copy = {"dataset": "w300", "sample_id": "<i>a", "copy_of": "b", "copy_split": "train", "bits": 0, "is_same": True}
    still = Health("fabnet", 1, {0: {**HEALTHY, "still_share": 1.0}, 50: HEALTHY})
    vanished = Health("fabnet", 2, {0: HEALTHY, 50: HEALTHY}, "the training loss is 0")
    text = page_of(replace(content, copies=[copy], health=[still, vanished]))
    first = text[: text.index("<nav")]
    assert "1 test image of w300 is in training or validation as well, 1 as the same file." in first
    assert "fabnet, seed 1: all frames are the same picture in 100% of the watched tracks" in first
    assert "; fabnet, seed 2: the training loss is 0." in first
    assert "<code>&lt;i&gt;a</code> is <code>b</code> of train" in text


def test_a_report_of_labels_of_one_class_says_so(inputs: Path, tmp_path: Path):
    params = parameters(methods=["fabnet"], seeds=[0])
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    index = tmp_path / "faces" / "affectnet" / "index.parquet"
    table = pq.read_table(index)
    place = table.column_names.index("expression")
    happy = pa.array([1] * len(table), table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), happy), index)
    paths = {"embeddings": tmp_path / "embeddings/fabnet-0", "faces": tmp_path / "faces"}
    probe.run(
        **paths, splits=tmp_path / "splits" / "faces", out=tmp_path / "metrics" / "fabnet-0", seed=params.seed,
        face_sets=params.face_sets, track_sets=params.track_sets, followed=["w300"], probe=params.probe,
        dataset=params.dataset,
    )  # fmt: skip
    text = page_of(report.collect(report.Folders(**folders(tmp_path)), params))
    assert "All labels of affectnet expression are the same in train (120 images of the class happy), val (40" in text
    assert "Nothing is decided on expression (undefined for every method)" in text


def test_a_missing_table_of_learning_curves_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match=r"fabnet-0/learning_curves\.parquet is missing"):
        contents.learning_curves(tmp_path, [results.Run("fabnet", 0)])


def test_the_area_under_a_roc_curve_is_the_auc(inputs: Path):
    params = parameters()
    tasks = {task.task: task for task in results.tested(inputs / "metrics", params)}
    assert results.class_curves(tasks["landmarks"], params.methods) == []
    classes = results.class_curves(tasks["expression"], params.methods)
    assert [curves.name for curves in classes] == probe_samples.CLASSES
    rows = list(results.pooled_rows([tasks["expression"]], params))
    for curves in classes:
        for method in params.methods:
            area = np.trapezoid(curves.roc[method], results.LEVELS)
            auc = next(
                r["value"] for r in rows if (r["method"], r["target"], r["metric"]) == (method, curves.name, "auc")
            )
            assert area == pytest.approx(auc, abs=0.02)
            assert curves.precision[method][-1] >= curves.share - 1e-9  # all found: at worst by taking every image


def test_the_page_shows_figures_and_their_rejects(written: Path):
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "What the networks do" in text
    assert "One source frame:" in text
    assert "Several source frames:" not in text
    assert "too few tracks" in text


def test_identity_tasks_are_shown_and_optional(inputs: Path, written: Path, tmp_path: Path):
    assert "voxceleb1 · identity_leakage" in (written / "report.html").read_text(encoding="utf-8")
    params = parameters()
    shutil.copytree(inputs / "metrics", tmp_path / "metrics")
    for path in tmp_path.glob("metrics/*/*.parquet"):
        if path.stem in ("metrics", "predictions"):
            table = pq.read_table(path)
            pq.write_table(table.filter(pc.field("dataset") != "voxceleb2"), path)
    results.check(tmp_path / "metrics", params)
    tracks = [task.dataset for task in results.tested(tmp_path / "metrics", params) if task.task == scores.IDENTITY]
    assert tracks == ["voxceleb1"]


def test_the_stage_depends_on_every_parameter():
    stage = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["report"]
    assert stage["params"] == [{"params.yaml": None}]
    assert scores.MEAN == "mean"


def test_the_page_shows_the_detection_rate_of_every_pass_and_the_published_one(written: Path):
    text = (written / "report.html").read_text(encoding="utf-8")
    for number in ("3,960", "99.00 %", "3,900 at x1, 60 at x2", "3,989 of 4,000"):
        assert number in text


def test_the_page_has_both_contact_sheets_of_every_data_set(written: Path):
    text = (written / "report.html").read_text(encoding="utf-8")
    for dataset in parameters().datasets:
        assert f"{dataset}: accepted" in text
        assert f"{dataset}: rejected" in text
    assert text.count("data:image/jpeg;base64,") == 2 * len(parameters().datasets) + 1  # and a figure


def test_a_missing_contact_sheet_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="should be a contact sheet"):
        list(contents.sheets(tmp_path, ["affectnet"]))


@pytest.fixture
def with_own_head(tmp_path: Path) -> Path:
    """Inputs in which `fabnet` came with a landmark head that errs by 4.2 %."""
    write_inputs(tmp_path, parameters())
    row = {"dataset": "w300", "task": "landmarks", "split": "test", "target": "mean", "better": "lower"}
    row |= {"metric": "interocular_percent", "value": 4.2, "ci_low": 4.0, "ci_high": 4.4, "n": 60, "groups": 60}
    for seed in parameters().seeds:
        tables.write(tmp_path / "metrics" / f"fabnet-{seed}" / "own_heads.parquet", tables.SCORES, [row], key=["task"])
    return tmp_path


def test_heads_that_came_with_weights_are_in_a_table_of_their_own(with_own_head: Path, written: Path):
    assert not len(tables.read(written / "own_heads.parquet", tables.METRICS))
    assert "Heads that came with weights" not in shown(written / "report.html")
    out = run(with_own_head, parameters())
    rows = tables.read(out / "own_heads.parquet", tables.METRICS).to_pylist()
    assert [(row["method"], row["seed"], row["value"]) for row in rows] == [("fabnet", 0, 4.2), ("fabnet", 1, 4.2)]
    page = shown(out / "report.html")
    assert "4.20 [4.00, 4.40]" in page[page.index("Not fitted here") :]
    assert rows_of(out) == rows_of(written)


def test_heads_that_came_with_weights_stand_beside_what_was_published_on_real_faces_alone(with_own_head: Path):
    def published(source: str) -> list[float | None]:
        dataset = parameters().dataset
        fetch = dataset["w300"].fetch.model_copy(update={"source": source})
        real = {**dataset, "w300": dataset["w300"].model_copy(update={"fetch": fetch})}
        content = report.collect(report.Folders(**folders(with_own_head)), parameters(dataset=real))
        return [row["published"] for row in content.own_heads]

    assert published("synthetic") == [None, None]
    assert published("folder") == [5.71, 5.71]


def test_the_page_shows_how_faces_sit_in_the_crops(written: Path):
    page = shown(written / "report.html")
    assert "w300 still images 0.90 0.86 to 0.93 +50 % 0.50 0.46 to 0.53 0.47 0.43 to 0.50 58 2" in page
    assert "all face tracks 0.60 0.56 to 0.63 +0 %" in page


def test_the_page_warns_of_faces_that_are_larger_than_in_training_and_says_what_to_set(written: Path):
    page = shown(written / "report.html")
    assert "Faces are not as large in the crops of w300 as in those of training." in page
    assert (
        "In w300 a face takes 0.90 of the crop's side, in training 0.60: 50 % more. "
        "dataset.w300.index.margin_frac is 0.1; about 0.40 brings them together."
    ) in page
    assert page.count("brings them together") == 1


def test_the_advice_on_detected_faces_names_the_margin_of_detect_and_no_margin_below_zero():
    larger = {"dataset": "affectnet", "face_frac": 0.77, "difference": 0.1, "is_apart": True}
    smaller = {"dataset": "w300", "face_frac": 0.48, "difference": -0.2, "is_apart": True}
    said = [str(warned.sentence) for warned in framing.warned([larger, smaller], parameters())]
    assert "<code>detect.margin_frac</code> is 0; about 0.05 brings them together." in said[0]
    assert said[1].startswith("In <b>w300</b> a face takes 0.48 of the crop's side, in training 0.60: 20 % less. ")
    assert "No <code>dataset.w300.index.margin_frac</code> is small enough" in said[1]


def test_framing_without_one_of_the_data_sets_is_a_user_error(inputs: Path):
    with pytest.raises(UserError, match=r"framing.parquet should have a row for smiles: run `dvc repro --force measur"):
        framing.rows(inputs / "framing", ["w300", "smiles"])
