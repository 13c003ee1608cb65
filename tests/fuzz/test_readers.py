"""Every reader on what was once found, and on a few new inputs; `make fuzz` gives them a million."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATHS = (ROOT, ROOT / "tests" / "stages", HERE)

TOLD = {  # reader -> inputs that were begun, what was told, the input
    "works": [5, "", ""],
    "refuses": [5, "", ""],
    "raises another error": [4, "KeyError from the fuzzing program", "3"],
    "says two lines": [1, "says what cannot be printed in a line: 'one\\ntwo'", "0"],
    "says what is no text": [1, "says what cannot be printed in a line: '\\udcff'", "0"],
    "never ends": [4, "takes too long", "3"],
    "crashes": [1, "signal 11", "0"],
    "takes memory": [1, "takes too much memory", "0"],
    "writes outside": [1, "NotAllowed from the fuzzing program", "0"],
    "removes outside": [1, "NotAllowed from the fuzzing program", "0"],
    "links to outside": [1, "NotAllowed from the fuzzing program", "0"],
    "connects": [1, "NotAllowed from the fuzzing program", "0"],
}


def python(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, HERE / script, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_program_tells_what_no_reader_may_do():
    assert json.loads(python("planted.py").stdout) == TOLD


def test_readers_raise_only_what_they_document():
    done = python("campaign.py", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
