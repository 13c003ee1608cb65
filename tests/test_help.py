"""Every command of the project describes itself with `--help`, and names parameters that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import warm_python

from pipelines import profile
from stages.runtime import config

ROOT = Path(__file__).parents[1]
STARTED_BY_OTHERS = {"pipelines.prerequisites", "pipelines.running.guard"}  # take no option of a person's
NO_COMMAND = "stages.runtime.config"  # though one might look there for the check of params.yaml
COMMANDS = sorted(
    {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("pipelines", "stages")
        for path in (ROOT / package).rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    - STARTED_BY_OTHERS
    - {NO_COMMAND}
)


@pytest.mark.slow
@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_describes_itself_and_names_parameters_that_exist(module):
    done = warm_python.run("python", "-m", module, "--help", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"(?i)usage: (python -m {re.escape(module)}|fabnet)", done.stdout)
    names = re.findall(r"^parameters: (.*)", done.stdout, re.MULTILINE)
    params = config.parsed(profile.text("sample", ROOT / "profiles"), "sample").model_dump()
    assert {name.split(".")[0] for name in ", ".join(names).split(", ") if name} <= {"all", *params}


def test_the_module_of_the_parameters_names_the_command_that_checks_them():
    done = subprocess.run(
        [sys.executable, "-m", NO_COMMAND, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    (named,) = re.findall(r"`python -m ([\w.]+) --help`", done.stderr)
    assert named in COMMANDS
