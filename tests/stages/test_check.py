import subprocess
from pathlib import Path

import pytest
import warm_python

from pipelines import profile
from stages import check
from stages.readiness import precision
from stages.runtime import config

ROOT = Path(__file__).parents[2]


def run(root: Path, name: str) -> subprocess.CompletedProcess[str]:
    """The stage's command with the parameters of a profile."""
    (root / "params.yaml").write_text(profile.text(name, ROOT / "profiles"), encoding="utf-8")
    paths = ["--raw", "raw", "--tracks", "tracks", "--faces", "faces", "--out", "data/ready.txt"]
    return warm_python.run("python", "-m", "stages.check", *paths, cwd=root, PYTHONPATH=str(ROOT))


@pytest.mark.slow
def test_all_that_is_missing_is_said_at_once_and_nothing_is_written(tmp_path: Path):
    done = run(tmp_path, "small")
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert not (tmp_path / "data").exists()
    datasets = config.load(tmp_path / "params.yaml").datasets
    assert [line.split(" ")[:2] for line in lines] == [["error:", f"{name}:"] for name in datasets]


def test_what_is_written_is_the_same_for_other_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("sample", "study"):
        params = config.parsed(profile.text(name, ROOT / "profiles"), name)
        check.run(
            raw=Path("raw"), tracks=Path("tracks"), faces=Path("faces"), out=tmp_path / f"{name}.txt", params=params
        )
    assert (tmp_path / "sample.txt").read_bytes() == (tmp_path / "study.txt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.txt", "study.txt"]


def test_a_precision_that_is_slow_here_is_told_and_stops_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    sample = config.parsed(profile.text("sample", ROOT / "profiles"), "sample")
    slow = sample.pretrain.model_copy(update={"precision": "bfloat16", "device": "cpu"})
    monkeypatch.chdir(tmp_path)
    paths = {name: Path(name) for name in ("raw", "tracks", "faces")}
    check.run(**paths, out=Path("ready.txt"), params=sample.model_copy(update={"pretrain": slow}))
    assert "pretrain.precision bfloat16 is slow" in caplog.text
    assert Path("ready.txt").read_text() == check.READY
