"""What dvc.yaml declares as artifacts can be fetched by name, and imported, from another repository."""

import json
from pathlib import Path

import dvc.api
import packaged
import pytest
import warm_python
from ruamel.yaml import YAML

import fabnet
from fabnet.pretext import fabnet as single

ROOT = Path(__file__).parents[1]
PACK = "mkdir -p data/packages data/reports && cp -r packed data/packages/fabnet-0 && cp metrics.parquet data/reports/"


def run(root: Path, *command: str) -> str:
    done = warm_python.run(*command, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_dvc(root: Path, *arguments: str) -> str:
    return run(root, "dvc", *arguments)


def start(root: Path) -> Path:
    root.mkdir()
    run(root, "git", "init", "--quiet")
    for name in ("user.name", "user.email"):
        run(root, "git", "config", name, "nobody@localhost")
    run_dvc(root, "init", "--quiet")
    (root / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text(encoding="utf-8"), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the artifacts of this project's dvc.yaml, a packed model and a table, tagged fabnet@v1.0.0."""
    folder = tmp_path_factory.mktemp("artifacts")
    root = start(folder / "ours")
    packaged.make(folder / "tree", single, {"width": 4, "embedding": 6}).rename(root / "packed")
    (folder / "tree" / "metrics" / "fabnet-3" / "metrics.parquet").rename(root / "metrics.parquet")
    declared = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["artifacts"]
    stage = {"cmd": PACK, "outs": ["data/packages/fabnet-0", "data/reports/metrics.parquet"]}
    with (root / "dvc.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({"stages": {"package": stage}, "artifacts": declared}, file)
    (root / "params.yaml").write_text(json.dumps({"seeds": [0, 1]}), encoding="utf-8")
    run_dvc(root, "repro", "--quiet")
    run(root, "git", "add", ".")
    run(root, "git", "commit", "--quiet", "--message", "a trained network")
    run(root, "git", "tag", "--annotate", "fabnet@v1.0.0", "--message", "the first one")
    return root


@pytest.mark.slow
def test_a_tagged_model_is_fetched_by_name_and_works(ours: Path, tmp_path: Path):
    shown = dvc.api.artifacts_show("fabnet", repo=str(ours))
    assert (shown["path"], shown["rev"]) == ("data/packages/fabnet-0", run(ours, "git", "rev-parse", "HEAD").strip())
    run_dvc(tmp_path, "artifacts", "get", str(ours), "fabnet", "--rev", "v1.0.0", "--out", "model")
    assert fabnet.load(tmp_path / "model", "cpu").description.method == "fabnet"
    assert (tmp_path / "model" / "README.md").read_text(encoding="utf-8").startswith("# fabnet, seed 3")


@pytest.mark.slow
def test_a_model_and_a_table_are_imported_into_another_repository_and_stay_linked(ours: Path, tmp_path: Path):
    theirs = start(tmp_path / "theirs")
    for path in ("data/packages/fabnet-0", "data/reports/metrics.parquet"):
        run_dvc(theirs, "import", str(ours), path, "--rev", "fabnet@v1.0.0")
        imported = YAML(typ="safe").load((theirs / f"{Path(path).name}.dvc").read_text(encoding="utf-8"))
        assert imported["deps"][0]["path"] == path
        assert imported["deps"][0]["repo"]["rev"] == "fabnet@v1.0.0"
    assert fabnet.load(theirs / "fabnet-0", "cpu").embed([]).shape == (0, 6)
    assert (theirs / "metrics.parquet").read_bytes() == (ours / "data" / "reports" / "metrics.parquet").read_bytes()
