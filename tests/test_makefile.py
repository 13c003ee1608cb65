"""The first command of a new user: what is missing is named before anything is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipelines import prerequisites

ROOT = Path(__file__).parents[1]


def make(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(["make", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def check(path: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "pipelines/prerequisites.py"]
    return subprocess.run(command, cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH with everything that the check looks for."""
    for name in ("g++", "cmake", "git"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.fixture
def without_a_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where dlib is built from source."""
    monkeypatch.setattr(prerequisites.platform, "machine", lambda: "s390x")


def test_a_missing_program_is_a_user_error_with_its_package(programs):
    (programs / "git").unlink()
    done = check(str(programs))
    assert done.returncode == 1
    (sentence,) = [line for line in done.stderr.splitlines() if "install git " in line]
    assert sentence.startswith("error: ")
    assert "(Debian, Ubuntu)" in sentence
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("program", "package"), [("g++", "g++"), ("cmake", "cmake")])
@pytest.mark.usefixtures("without_a_wheel")
def test_a_missing_program_for_the_build_of_dlib_is_named_where_it_is_built(program, package, programs, monkeypatch):
    (programs / program).unlink()
    monkeypatch.setenv("PATH", str(programs))
    (sentence,) = prerequisites.missing_programs()
    assert "is missing, needed to build dlib" in sentence
    assert f"install {package} (Debian, Ubuntu)" in sentence


@pytest.mark.usefixtures("without_a_wheel")
def test_missing_python_headers_are_named_where_dlib_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(prerequisites.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    (sentence,) = prerequisites.wrong_python((3, 11))
    assert sentence.startswith("Python.h is missing, needed to build dlib: install python3.11-dev (Debian, Ubuntu)")


def test_where_dlib_has_a_wheel_neither_compiler_nor_headers_are_needed(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(prerequisites.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(prerequisites.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    for name in ("g++", "cmake"):
        (programs / name).unlink()
    monkeypatch.setenv("PATH", str(programs))
    assert prerequisites.missing_programs() == []
    assert prerequisites.wrong_python((3, 11)) == []


@pytest.mark.usefixtures("without_a_wheel")
def test_an_empty_path_names_everything_at_once(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert len(prerequisites.missing_programs()) == 3


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
@pytest.mark.parametrize("system", ["Linux", "Darwin", "Windows"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "arm64", "AMD64", "ARM64", "i686", "ppc64le", "s390x", "x86"])
def test_one_dlib_is_declared_for_every_platform_and_the_one_that_is_checked_for(file, system, machine, monkeypatch):
    text = (ROOT / file).read_text(encoding="utf-8")
    lines = re.findall(r"^\W*(dlib(?:-bin)?[=>][^#\n\"]+)", text, flags=re.MULTILINE)
    platform = {"platform_system": system, "platform_machine": machine}
    names = [line.name for line in map(Requirement, lines) if line.marker and line.marker.evaluate(platform)]
    monkeypatch.setattr(prerequisites.platform, "machine", lambda: machine)
    monkeypatch.setattr(prerequisites.platform, "system", lambda: system)
    assert names == ["dlib" if prerequisites.builds_dlib() else "dlib-bin"]


def test_a_library_that_the_linker_lacks_is_named(monkeypatch):
    monkeypatch.setattr(prerequisites.platform, "system", lambda: "Linux")
    monkeypatch.setattr(prerequisites, "can_load", lambda library: library != "libGL.so.1")
    (sentence,) = prerequisites.missing_libraries()
    assert sentence.startswith("libGL.so.1 is missing, needed by OpenCV: install libgl1 (Debian, Ubuntu)")


def test_a_library_is_found_by_loading_it():
    assert not prerequisites.can_load("libno-such-thing.so.1")


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_another_python_is_refused(version):
    (sentence,) = prerequisites.wrong_python(version)
    assert f"Python 3.11 or 3.12 is needed, found python{version[0]}.{version[1]}: install" in sentence


def test_too_little_disk_is_reported_in_gb():
    (sentence,) = prerequisites.little_disk(500_000_000)
    assert "found 0.5 GB" in sentence
    assert prerequisites.little_disk(10**12) == []


def test_make_alone_lists_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = [line for line in text.splitlines() if line.startswith(".PHONY:")]
    listed = make().stdout
    assert all(f"make {target} " in listed for target in phony.split()[1:])


def test_repro_checks_the_parameters_before_dvc_starts():
    commands = make("--dry-run", "repro").stdout
    assert commands.index("pipelines.profile check") < commands.index("dvc repro")


def test_a_profile_is_chosen_before_dvc_starts():
    commands = make("--dry-run", "repro", "PROFILE=small").stdout
    assert commands.index("pipelines.profile use small") < commands.index("dvc repro")


@pytest.mark.parametrize("target", ["repro", "flow", "profile"])
def test_edits_are_overwritten_only_where_someone_says_so(target):
    assert "--force" not in make("--dry-run", target, "PROFILE=small").stdout
    assert "pipelines.profile use small --force\n" in make("--dry-run", target, "PROFILE=small", "FORCE=1").stdout


def test_a_profile_can_be_written_without_a_run():
    commands = make("--dry-run", "profile", "PROFILE=small").stdout
    assert "pipelines.profile use small" in commands
    assert "dvc repro" not in commands


def test_a_dlib_that_was_built_here_goes_before_the_installation():
    commands = make("--dry-run", "--what-if=pyproject.toml", "doctor").stdout
    assert commands.index("pip uninstall --quiet --yes dlib dlib-bin") < commands.index("pip install --constraint")


def test_a_failed_installation_is_tried_again(tmp_path):
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "prerequisites.py").write_text("raise SystemExit('error: cmake is missing')")
    for _ in range(2):
        done = make("test", cwd=tmp_path)
        assert done.returncode != 0
        assert "error: cmake is missing" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_hook_refuses_a_file_that_is_not_formatted(tmp_path):
    (tmp_path / "module.py").write_text("x  =  1\n")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["sh", ROOT / ".ci" / "pre-commit"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "module.py" in done.stdout
