"""Limits of what comes from strangers: they reach every process, and change no digest of a configuration."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines import profile
from stages.runtime import config
from stages.runtime.errors import UserError
from stages.runtime.limits import Limits
from stages.runtime.params import LimitsParams

ROOT = Path(__file__).parents[3]
SAMPLE = profile.text("sample", ROOT / "profiles")
OTHER = SAMPLE.replace("  file_mib: 256 ", "  file_mib: 300 ")

STAGE = '''
"""Say what limits hold here and in other processes."""
from stages.runtime import command, limits, workers

def file_mib(_: int) -> float:
    return limits.now().file_mib

def run(*, seed: int) -> None:
    print(file_mib(0), *workers.in_order(file_mib, range(2), 2))

if __name__ == "__main__":
    command.main(run, __doc__)
'''


def test_the_profiles_state_the_defaults():
    assert asdict(config.parsed(SAMPLE, "sample").limits.values) == asdict(Limits()) == LimitsParams().model_dump()


def test_a_file_without_limits_has_the_defaults():
    start = SAMPLE.index("limits:")
    older = SAMPLE[:start] + SAMPLE[SAMPLE.index("\nmethod:") + 1 :]
    assert config.parsed(older, "older").limits.values == Limits()


def test_a_limit_reaches_the_stage_and_its_processes(tmp_path):
    (tmp_path / "say.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "params.yaml").write_text(OTHER, encoding="utf-8")
    command, env = [sys.executable, "-m", "say"], {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "300.0 300.0 300.0\n"


def test_limits_are_no_part_of_the_configuration():
    sample, other = config.parsed(SAMPLE, "sample"), config.parsed(OTHER, "other")
    assert sample.limits != other.limits
    assert config.digest(sample) == config.digest(other)
    assert config.digest(sample) != config.digest(sample.model_copy(update={"seed": sample.seed + 1}))


@pytest.mark.parametrize("value", ["0", "-1", ".inf", ".nan", "1.0e300", "'9'", "[1]"])
@pytest.mark.parametrize("name", LimitsParams.model_fields)
def test_a_limit_that_limits_nothing_is_refused(name, value):
    start = SAMPLE.index(f"  {name}: ")
    text = f"{SAMPLE[:start]}  {name}: {value}{SAMPLE[SAMPLE.index('  ', start + 3 + len(name)) :]}"
    with pytest.raises(UserError, match=rf"limits\.{name} should be"):
        config.parsed(text, "it")


def test_dvc_runs_no_costly_stage_again_for_a_limit():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    of_everything = {name for name, stage in stages.items() if {"params.yaml": None} in stage.get("params", [])}
    assert of_everything == {"check", "report"}
    assert not any("limits" in str(stage.get("params")) for stage in stages.values())
