"""A second run beside `dvc repro`: it says that a run is going on, and harms nothing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kills
import pytest
import track_samples
import whole_graph
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
BY_HAND = "-m stages.pretrain fabnet 0 --tracks tracks --splits splits --out models/fabnet-0"
GRAPH = {"stages": {"pretrain": {"cmd": f"python {BY_HAND}", "outs": ["models/fabnet-0"]}}}
BUSY = "is busy, it is being blocked by"  # as DVC says it
SECOND = {
    "dvc repro": ("-m dvc repro", BUSY),
    "a flow": ("-m pipelines.reproduce", BUSY),
    "a stage by hand": (BY_HAND, "error: another run works in .journal/pretrain/fabnet-0: wait until it has ended"),
}
WAIT_S = 600

pytestmark = [pytest.mark.torture, pytest.mark.timeout(0)]


def started(folder: Path, arguments: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, *arguments.split()],
        cwd=folder, env={**inherited, "PATH": path, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def make(folder: Path) -> None:
    """A repository of DVC with one training."""
    for dataset in ("voxceleb1", "voxceleb2"):
        track_samples.write_tracks(folder, dataset)
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    sides = {name: list(sides) for name, sides in track_samples.PARAMS["jitter_px"].items()}
    params["pretrain"] = {**track_samples.PARAMS, "jitter_px": sides, "checkpoint_epochs": 1}
    params["method"]["fabnet"] = track_samples.METHOD_PARAMS
    for name, content in (("params.yaml", params), ("dvc.yaml", GRAPH)):
        with (folder / name).open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(content, file)
    for name in ("profiles", "prefect.toml"):
        (folder / name).symlink_to(ROOT / name)
    started(folder, "-m dvc init --quiet --no-scm").communicate()
    for name in (".dvc/config", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    started(folder, "-m dvc config core.no_scm true").communicate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository in which `dvc repro` has begun its training, which stands still until all tests are done."""
    folder = tmp_path_factory.mktemp("repository")
    make(folder)
    first = started(folder, "-m dvc repro")
    assert whole_graph.until(lambda: any((folder / ".journal").rglob("state.pt")), WAIT_S)
    (stage,) = (process for process in whole_graph.workers(folder) if whole_graph.is_stage(process))
    stage.send_signal(signal.SIGSTOP)
    yield folder
    stage.send_signal(signal.SIGCONT)
    said, _ = first.communicate()
    assert first.returncode == 0, said
    by_itself = folder.with_name("alone")
    shutil.copytree(folder, by_itself, symlinks=True)
    for name in ("dvc.lock", "models", ".journal", ".dvc/cache"):
        path = by_itself / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = started(by_itself, "-m dvc repro")
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert kills.files(folder / "models") == kills.files(by_itself / "models")


@pytest.mark.parametrize("name", SECOND)
def test_the_second_run_says_that_there_is_one(name, folder):
    arguments, expected = SECOND[name]
    second = started(folder, arguments)
    said, _ = second.communicate(timeout=WAIT_S)
    assert second.returncode not in (0, None)
    assert expected in said
    assert "Traceback" not in said
