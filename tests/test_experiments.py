"""DVC's own commands on the project's graph, as docs/reading-reports.md gives them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import copied_project
import pytest
from copied_project import ROOT, run

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGE = ROOT / "docs" / "reading-reports.md"
EXPERIMENT = "dvc exp run --name strong --set-param 'probe.l2=[100]'"
DIFFERENCES = "dvc metrics diff base strong"
HISTORY = "python -m pipelines.history base strong"

BLOCKS = [
    block.splitlines()
    for block in re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
]
(REMOVAL,) = [block for block in BLOCKS if "dvc exp remove strong" in block]

SMALL = {
    **copied_project.QUICK,
    "datasets": ["voxceleb1", "w300"],
    "methods": ["fabnet", "random"],
    "dataset": {
        "voxceleb1": {"synthetic": {"identities": 8, "tracks_per_identity": 2, "seconds": 1.0}},
        "w300": {"synthetic": {"training": 50, "common": 12, "challenging": 6}},
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its report made and committed."""
    folder = tmp_path_factory.mktemp("project")
    params = copied_project.merged(copied_project.parameters("sample"), SMALL)
    copied_project.copy(folder, params, more=("pipelines/",))
    copied_project.check(folder)
    run(folder, "dvc", "repro")
    run(folder, "git", "config", "user.name", "test")
    run(folder, "git", "config", "user.email", "test@localhost")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "base")
    return folder


@pytest.fixture(scope="module")
def outputs(project: Path) -> dict[str, str]:
    """Output of the page's commands up to the end of the experiment, run in order: tag `base`, experiment `strong`."""
    return {line: run(project, "sh", "-c", line) for block in BLOCKS for line in block if line not in REMOVAL}


@pytest.mark.parametrize(("command", "first"), [(DIFFERENCES, ["Path", "Metric"]), (HISTORY, ["task"])])
def test_the_page_shows_the_columns_that_are_printed(outputs, command, first):
    printed, shown = (
        next(line.split() for line in text.splitlines() if line.split()[: len(first)] == first)
        for text in (outputs[command], PAGE.read_text(encoding="utf-8"))
    )
    assert printed == shown


def test_an_experiment_runs_only_the_stages_that_its_setting_reaches(project, outputs):
    ran = re.findall(r"Running stage '(.*?)'", outputs[EXPERIMENT])
    probed = {f"{stage}@{method}-0" for stage in ("probe", "perturb", "package") for method in ("fabnet", "random")}
    assert set(ran) == {"check", "report", *probed}
    shown = json.loads(run(project, "dvc", "exp", "show", "--json"))
    assert [each["name"] for row in shown for each in row.get("experiments") or []] == ["strong"]


def repro(folder: Path) -> set[str]:
    """Kinds of the stages that ran, or came from DVC's cache, in `dvc repro`."""
    said = run(folder, "dvc", "repro")
    return set(re.findall(r"(?:Running stage|Stage) '(\w+)[@\w-]*'(?:: *$| is cached)", said, re.MULTILINE))


def report_of(folder: Path) -> dict[str, bytes]:
    reports = folder / "data" / "reports"
    return {
        str(path.relative_to(reports)): path.read_bytes() for path in reports.rglob("*.*") if path.suffix != ".html"
    }


@pytest.fixture(scope="module")
def copy(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its first parameters, up to date; each test leaves it so."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("copy") / "project")
    choose(folder, SMALL)
    run(folder, "dvc", "repro")
    return folder


def choose(folder: Path, changes: dict[str, Any]) -> None:
    """Make the sample with these changes the parameters, as `make profile` and `make repro` do."""
    copied_project.write(folder, copied_project.merged(copied_project.parameters("sample"), changes))
    copied_project.check(folder)


def test_fewer_methods_and_back_train_nothing_and_lose_nothing(copy: Path):
    before = report_of(copy)
    packed = (copy / "data" / "packages" / "fabnet-0" / "model.safetensors").read_bytes()
    choose(copy, {**SMALL, "methods": ["random"], "refine": {"start": "random"}})
    assert repro(copy) == {"check", "package", "illustrate", "report"}
    assert [path.name for path in (copy / "data" / "reports" / "metrics").iterdir()] == ["random.json"]
    assert (copy / "data" / "packages" / "fabnet-0" / "model.safetensors").read_bytes() == packed
    choose(copy, SMALL)
    assert repro(copy) == {"check", "package", "illustrate", "report"}
    assert report_of(copy) == before


def test_the_folder_of_data_can_be_removed(copy: Path):
    before = report_of(copy)
    shutil.rmtree(copy / "data")
    assert not {"pretrain", "embed"} & set(re.findall(r"Running stage '(\w+)", run(copy, "dvc", "repro")))
    assert report_of(copy) == before


def test_every_stage_has_a_timing_and_no_timing_is_tracked(project, outputs):
    kept = {path.stem for path in (project / ".timings").glob("*.json")}
    assert kept == set(run(project, "dvc", "stage", "list", "--name-only").split())
    changed = {line.split()[-1] for line in run(project, "git", "status", "--porcelain").splitlines()}
    metrics = {f"data/reports/metrics/{method}.json" for method in SMALL["methods"]}
    written = {f"changes.{kind}" for kind in ("parquet", "csv", "html")}
    assert changed <= {"params.yaml", "dvc.lock", *metrics, *written}
    page = (project / "data" / "reports" / "machine.html").read_text(encoding="utf-8")
    assert '<th scope="row">embed@fabnet-0</th>' in page
    assert "up to date" in run(project, "dvc", "repro")


def test_a_clone_in_another_folder_reproduces_the_committed_results_and_stays_clean(project, tmp_path):
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    run(clone, "dvc", "repro")
    assert (clone / "data" / "reports" / "machine.html").exists()
    assert run(clone, "git", "status", "--porcelain") == ""


def test_metrics_show_is_a_table_of_methods_and_tasks(project):
    header, *rows = (line.split() for line in run(project, "dvc", "metrics", "show").splitlines())
    assert header == ["Path", "voxceleb1.identity_leakage", "w300.landmarks"]
    assert [row[0] for row in rows] == [f"data/reports/metrics/{method}.json" for method in SMALL["methods"]]
    assert all(float(value) >= 0 for row in rows for value in row[1:])


def test_metrics_diff_gives_the_difference_of_every_number(project, outputs):
    found = json.loads(run(project, "dvc", "metrics", "diff", "base", "strong", "--json"))
    landmarks = found["data/reports/metrics/fabnet.json"]["w300.landmarks"]
    assert landmarks["diff"] == pytest.approx(landmarks["new"] - landmarks["old"])
    assert landmarks["diff"] != 0


def test_params_diff_names_the_setting_that_changed(project, outputs):
    found = json.loads(run(project, "dvc", "params", "diff", "base", "strong", "--json"))
    assert found == {"params.yaml": {"probe.l2": {"old": "[0.01, 1.0]", "new": "[100]"}}}


def test_plots_show_draws_every_image_and_every_curve(project, outputs, tmp_path):
    found = json.loads(run(project, "dvc", "plots", "show", "--json", "--out", str(tmp_path)))
    assert found.get("errors", []) == []
    drawn = set(found["data"])
    assert {f"data/reports/{name}.png" for name in ("summary", "loss_curves", "learning_curves")} <= drawn
    assert {"data/figures/images/warp.png", "data/sheets/w300/accepted.png"} <= drawn
    assert {"data/reports/loss_curves.csv", "data/reports/learning_curves/w300-landmarks.csv"} <= drawn


def test_plots_diff_has_the_images_and_curves_of_both(project, outputs, tmp_path):
    found = json.loads(run(project, "dvc", "plots", "diff", "base", "strong", "--json", "--out", str(tmp_path)))
    assert found.get("errors", []) == []
    revisions = {revision for each in found["data"]["data/reports/summary.png"] for revision in each["revisions"]}
    assert revisions == {"base", "strong"}
    assert {path.name for path in tmp_path.rglob("*summary.png")} == {
        "base_data_reports_summary.png", "strong_data_reports_summary.png",
    }  # fmt: skip


def test_the_history_lists_what_the_experiment_changed(project, outputs):
    assert "w300 · landmarks" in outputs[HISTORY]
    assert "differences between base and strong" in outputs[HISTORY]
    assert (project / "changes.html").exists()


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium on PATH")
def test_curves_of_dvc_are_drawn_without_the_internet(project, outputs):
    from playwright.sync_api import sync_playwright

    run(project, "dvc", "plots", "show")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, asked = browser.new_page(), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((project / "dvc_plots" / "index.html").as_uri())
        page.wait_for_selector(".vega-embed canvas, .vega-embed svg")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_an_experiment_that_is_got_rid_of_leaves_the_committed_results_and_nothing_to_run(project, outputs):
    for command in REMOVAL:
        run(project, "sh", "-c", command)
    changed = run(project, "git", "status", "--porcelain", "--untracked-files=no")
    assert changed == ""
    assert "Data and pipelines are up to date." in run(project, "dvc", "repro")
    shown = json.loads(run(project, "dvc", "exp", "show", "--json"))
    assert [each for row in shown for each in row.get("experiments") or []] == []
