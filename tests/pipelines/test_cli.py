import subprocess
import sys
from importlib import metadata

import pytest
import tiny_repository
import warm_python

from pipelines import cli

COMMANDS = (
    "embed",
    "attributes",
    "crops",
    "retrieve",
    "animate",
    "overlay",
    "export",
    "doctor",
    "history",
    "fingerprint",
    "verify",
)


def help_of(*arguments: str, capsys) -> str:
    cli.app([*arguments, "--help"], result_action="return_value")
    return capsys.readouterr().out


def test_help_lists_every_command(capsys):
    text = help_of(capsys=capsys)
    assert all(f"│ {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("name", cli.OWN)
def test_the_help_of_a_command_shows_examples(name, capsys):
    text = help_of(name, capsys=capsys)
    assert f"fabnet {name} " in text.split("Examples:")[1]


def test_the_version_is_that_of_the_project_and_of_pytorch(capsys):
    cli.app(["--version"], result_action="return_value")
    versions = f"fabnet-pipelines {metadata.version('fabnet-pipelines')}, torch {metadata.version('torch')}\n"
    assert capsys.readouterr().out == versions


def test_a_shell_completes_commands_and_options():
    script = cli.app.generate_completion(shell="bash")
    assert all(word in script for word in (*COMMANDS, "--other-sources", "--fps"))


def test_help_and_face_detection_do_not_import_pytorch():
    code = "import sys, pipelines.cli, pipelines.own.detection; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tiny_repository.ROOT, check=False).returncode == 0


def test_a_wrong_option_is_reported_without_a_traceback():
    done = warm_python.run("python", "-m", "pipelines.cli", "embed", "--fsp", "5", cwd=tiny_repository.ROOT)
    assert done.returncode == 2
    assert "--fsp" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["readme", "offline_plots", "doctor"])
def test_asking_a_module_for_help_does_nothing_else(module, tmp_path):
    command = ["python", "-m", f"pipelines.{module}", "--help"]
    done = warm_python.run(*command, cwd=tmp_path, PYTHONPATH=str(tiny_repository.ROOT))
    assert done.stdout.startswith(f"usage: python -m pipelines.{module}"), done.stderr
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "package", "brings"),
    [(["overlay", "clip.mp4"], "av", "."), (["history"], "dvc", "'.[pipeline]'")],
)
def test_a_missing_package_is_named_with_what_brings_it(arguments, package, brings):
    code = f"import sys; sys.modules[{package!r}] = None; from pipelines import cli; sys.exit(cli.run(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: this command needs the package {package}")
    assert done.stderr.endswith(f"`pip install -c constraints.txt -e {brings}`\n")
