"""The import contracts of pyproject.toml hold, and each of them is able to fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = Path(sys.executable).with_name("lint-imports")

PLANTED = {
    "pipelines, then stages, then fabnet": ("stages/split.py", "import pipelines.dvc.graph"),
    "fabnet needs nothing but torch": ("fabnet/modules/warp.py", "import pathlib"),
    "stages know neither DVC nor Prefect": ("stages/storage/media.py", "import dvc.api"),
    "a stage stands on its rooms": ("stages/embed.py", "import stages.probe"),
    "a room on those below it": ("stages/storage/media.py", "import stages.releases.readers"),
    "a front door stands on the rooms of pipelines": ("pipelines/running/gpus.py", "import pipelines.flows.groups"),
    "only pipelines.dvc calls DVC": ("pipelines/doctor.py", "import dvc.api"),
    "fabnet in layers": ("fabnet/modules/warp.py", "import fabnet.training.train"),
    "data sets do not import each other": ("stages/datasets/w300.py", "import stages.datasets.affectnet"),
}
CONTRACTS = 8


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINT, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def copy_of_the_code(target: Path) -> None:
    for package in ("pipelines", "stages", "fabnet"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)


def test_every_contract_is_kept():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {CONTRACTS} kept, 0 broken" in done.stdout


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_violation_breaks_its_contract(contract, tmp_path):
    copy_of_the_code(tmp_path)
    file, line = PLANTED[contract]
    with (tmp_path / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    done = lint(tmp_path)
    broken = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert done.returncode == 1
    assert any(contract in text for text in broken), done.stdout
