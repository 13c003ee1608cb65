"""The command line that stages share, as a user meets it: run as a module in a folder with a params.yaml."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

STAGE = '''
"""Say what came in."""
import errno
from pathlib import Path

from stages.runtime import command
from stages.runtime.params import GeometryParams
from stages.runtime.errors import UserError

SECTIONS = {"geometry": "dataset.{dataset}.crop"}


def run(
    dataset: str, repeats: int, *, out: Path, journal: Path = Path(".journal"), geometry: GeometryParams, seed: int
) -> None:
    if repeats == 1:
        raise UserError("the release should hold 3 parts, found 2: copy the missing one")
    if repeats == 2:
        raise KeyboardInterrupt
    if repeats == 3:
        raise OSError(errno.ENOSPC, "No space left on device")
    if repeats == 4:
        raise RuntimeError("a bug")
    if repeats == 5:
        raise OSError(errno.EIO, "Input/output error", "data/raw/a.jpg")
    if repeats == 6:
        raise OSError(errno.EROFS, "Read-only file system", "data/out")
    print(dataset, repeats, out, journal, geometry.centre_px, seed)


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
'''


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "say.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())

    def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "say", *arguments]
        env |= {"PYTHONPATH": str(ROOT), "PATH": ""}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return call


def test_paths_names_and_sections_reach_the_stage(stage):
    done = stage("voxceleb2", "0", "--out", "some/where")
    assert done.stdout == "voxceleb2 0 some/where .journal 190 7\n"
    assert done.returncode == 0


def test_a_path_with_a_default_can_be_given(stage):
    assert "elsewhere" in stage("voxceleb2", "0", "--out", "o", "--journal", "elsewhere").stdout


@pytest.mark.parametrize(
    ("repeats", "status", "sentence"),
    [
        ("1", 1, "error: the release should hold 3 parts, found 2: copy the missing one\n"),
        ("2", 130, "stopped; finished parts are kept, the same command continues from there\n"),
        ("3", 1, "error: the disk is full; free some space and run the same command again\n"),
        (
            "5",
            1,
            "error: data/raw/a.jpg: the disk failed: check it, or mount it again, then run the same command again\n",
        ),
        (
            "6",
            1,
            "error: data/out: the disk is read-only; mount it for writing, or use another folder, and run the same "
            "command again\n",
        ),
    ],
)
def test_user_errors_stops_and_full_or_failing_disks_are_one_line(stage, repeats, status, sentence):
    done = stage("voxceleb2", repeats, "--out", "o")
    assert (done.returncode, done.stderr) == (status, sentence)


def test_one_of_several_processes_leaves_its_error_to_torchrun(stage, tmp_path):
    report = tmp_path / "error.json"
    done = stage("voxceleb2", "1", "--out", "o", TORCHELASTIC_ERROR_FILE=str(report))
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["message"] == "the release should hold 3 parts, found 2: copy the missing one"


def test_a_bug_keeps_its_traceback(stage):
    done = stage("voxceleb2", "4", "--out", "o")
    assert done.returncode == 1
    assert "RuntimeError: a bug" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("voxceleb2", "0"), "--out"),
        (("voxceleb2", "many", "--out", "o"), "invalid int value: 'many'"),
        (("voxceleb2", "0", "--out", "o", "--in", "i"), "--in"),
    ],
)
def test_a_wrong_command_line_prints_the_usage(stage, arguments, named):
    done = stage(*arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_without_a_section_is_a_user_error(stage):
    done = stage("imagenet", "0", "--out", "o")
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml has no section 'dataset.imagenet.crop'")
    assert done.stderr.count("\n") == 1


def test_a_wrong_parameter_file_is_a_user_error(stage, tmp_path):
    (tmp_path / "params.yaml").write_text("seed: seven\n", encoding="utf-8")
    done = stage("voxceleb2", "0", "--out", "o")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_help_describes_the_stage(stage):
    assert "Say what came in." in stage("--help").stdout


def test_the_time_of_a_finished_stage_of_dvc_is_kept(stage, tmp_path):
    stage("voxceleb2", "1", "--out", "o", DVC_STAGE="say@voxceleb2")
    stage("voxceleb2", "0", "--out", "o")
    assert not (tmp_path / ".timings").exists()
    stage("voxceleb2", "0", "--out", "o", DVC_STAGE="say@voxceleb2")
    assert [path.name for path in (tmp_path / ".timings").iterdir()] == ["say@voxceleb2.json"]


def test_a_stage_succeeds_even_if_its_time_cannot_be_kept(stage, tmp_path):
    (tmp_path / ".timings").write_text("a file where the folder should be")
    done = stage("voxceleb2", "0", "--out", "o", DVC_STAGE="say@voxceleb2")
    assert (done.returncode, done.stderr) == (0, "")
