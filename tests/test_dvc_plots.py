"""DVC draws the curves of all methods of one or several revisions in one plot each, as dvc.yaml declares them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import vl_convert
import warm_python
from ruamel.yaml import YAML

from pipelines.offline_plots import VEGA_LITE

ROOT = Path(__file__).parents[1]
LOSSES, CURVES = "data/reports/loss_curves.csv", "data/reports/learning_curves/w300-landmarks.csv"
HEALTH = "data/reports/health/effective_rank.csv"
TRAINED = {"first": ("fabnet", "pca"), "second": ("fabnet", "vicreg")}  # revision -> methods


def run(root: Path, *command: str) -> str:
    done = warm_python.run(*command, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_curves(root: Path, methods: tuple[str, ...]) -> None:
    """Files as `report` writes them: `random` is not trained."""
    losses = [f"{method},{epoch},{1 / epoch},{2 / epoch}" for method in methods for epoch in (1, 2, 3)]
    points = [f"{method},interocular_percent,{step},{9 - step / 100}" for method in methods for step in (90, 180)]
    ranks = [f"{method},{step},{40 - step / 10}" for method in methods for step in (0, 90, 180)]
    lines = {
        LOSSES: ["method,epoch,train_loss,val_loss", *losses],
        CURVES: ["method,metric,step,value", *points, "random,interocular_percent,0,9.5"],
        HEALTH: ["method,step,value", *ranks],
    }
    for path, text in lines.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("\n".join(text) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a tag for each of TRAINED."""
    root = tmp_path_factory.mktemp("plots")
    run(root, "git", "init", "--quiet")
    run(root, "dvc", "init", "--quiet")
    shutil.copytree(ROOT / ".dvc" / "plots", root / ".dvc" / "plots")
    report = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["report"]
    curves = [plot for plot in report["plots"] if isinstance(plot, dict)]
    with (root / "dvc.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump({"plots": curves}, file)
    for name, methods in TRAINED.items():
        write_curves(root, methods)
        run(root, "git", "add", "--all")
        run(root, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--message", name)
        run(root, "git", "tag", name)
    return root


def plots(root: Path, *command: str) -> dict[str, Any]:
    """Vega-Lite by name of the plot."""
    found = json.loads(run(root, "dvc", "plots", *command, "--json", "--out", "drawn"))
    assert found.get("errors", []) == []
    return {name: plot["content"] for name, (plot,) in found["data"].items()}


def drawn(plot: Any) -> tuple[set[str], list[str]]:
    """The words of a plot, and its lines as SVG, level ones as well."""
    svg = vl_convert.vegalite_to_svg(plot, vl_version=VEGA_LITE)
    return set(re.findall(r"<text[^>]*>([^<]+)</text>", svg)), re.findall(
        r'aria-roledescription="(line|rule) mark"', svg
    )


def test_the_methods_of_one_revision_are_lines_of_one_plot(root: Path):
    found = plots(root, "show")
    assert set(found) == {LOSSES, CURVES, HEALTH}
    words, lines = drawn(found[LOSSES])
    assert {"fabnet", "vicreg", "workspace", "epoch", "val_loss"} <= words
    assert len(lines) == 2
    words, lines = drawn(found[CURVES])
    assert {"fabnet", "vicreg", "random", "step"} <= words
    assert sorted(lines) == ["line", "line", "rule"]
    words, lines = drawn(found[HEALTH])
    assert {"fabnet", "vicreg", "step", "measure"} <= words
    assert lines == ["line", "line"]


def test_revisions_with_other_methods_are_in_the_same_plots(root: Path):
    found = plots(root, "diff", "first", "second")
    assert set(found) == {LOSSES, CURVES, HEALTH}
    words, lines = drawn(found[CURVES])
    assert {"fabnet", "pca", "vicreg", "random", "first", "second"} <= words
    assert sorted(lines) == [*["line"] * 4, *["rule"] * 2]
