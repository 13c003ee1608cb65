"""What is imported is declared in the extra that it belongs to, and what is declared is imported."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import packaged
import pytest
import released_samples
from media_samples import drawn_faces
from own_samples import FACE, image_file, moving, video
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fabnet.pretext import fabnet as single

ROOT = Path(__file__).parents[1]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = CONFIGURATION["project"]
EXTRAS = PROJECT["optional-dependencies"]

FABNET = {"numpy", "opencv-python", "safetensors", "torch"}  # all that the library imports
# The extras that each folder may import from; all may import what a plain installation brings.
EXTRAS_OF = {
    "fabnet": [],
    "stages": ["pipeline"],
    "pipelines": ["pipeline", "ui", "export", "plots"],
    "tests": ["dev"],
    "benchmarks": ["dev"],
}
# Imported where they are needed; without them an error says what to install.
OPTIONAL = {
    "benchmarks": {"torchvision"},
    "fabnet": {"pytorch-metric-learning"},
    "stages": {"dask", "distributed", "torchcodec"},
    "tests": {"atheris", "dask", "timm"},
}
# Declared although no module imports them.
NOT_IMPORTED = {
    "pandas": "docs/reading-reports.md shows readers the tables with it",
    "onnxscript": "torch.onnx.export needs it",
    "dlib-bin": "it brings the module dlib, but does not say so",
    "dask-jobqueue": "Dask's configuration names its classes",
    "dvc-s3": "DVC loads it for a remote s3://",
    "dvc-ssh": "DVC loads it for a remote ssh://",
}
OF_MODULE = metadata.packages_distributions()


def declared(extras: list[str]) -> set[str]:
    """Names that the base and `extras` install, those of other platforms too."""
    names: set[str] = set()
    waiting = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == PROJECT["name"]:
            waiting += [text for extra in requirement.extras for text in EXTRAS[extra]]
        else:
            names.add(canonicalize_name(requirement.name))
    return names


def imported(folder: str) -> set[str]:
    """Top-level names of the third-party modules that the files in `folder` import."""
    files = list((ROOT / folder).rglob("*.py"))
    ours = {*EXTRAS_OF, *sys.stdlib_module_names, *(path.stem for path in files if folder == "tests")}
    names = {name.split(".")[0] for path in files for name in imports(path)}
    return names - ours


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def distributions(module: str) -> set[str]:
    return {canonicalize_name(name) for name in OF_MODULE.get(module, [module])}


@pytest.mark.parametrize("folder", EXTRAS_OF)
def test_every_imported_package_is_declared_for_its_folder(folder):
    installed = FABNET if folder == "fabnet" else declared(EXTRAS_OF[folder])
    allowed = installed | OPTIONAL.get(folder, set())
    assert {module for module in imported(folder) if not distributions(module) & allowed} == set()


def test_every_declared_package_is_imported_or_has_a_reason():
    modules = imported("fabnet") | imported("stages") | imported("pipelines")
    used = {name for module in modules for name in distributions(module)}
    assert declared([extra for extra in EXTRAS if extra not in ("dev", "fuzz")]) - used == set(NOT_IMPORTED)


def test_every_package_and_file_of_the_code_is_installed():
    patterns = CONFIGURATION["tool"]["setuptools"]["package-data"]["*"]
    files = [path for top in ("fabnet", "stages", "pipelines") for path in (ROOT / top).rglob("*") if path.is_file()]
    code = [path for path in files if path.suffix == ".py"]
    packages = {path.parent for path in code if path.name == "__init__.py"}
    assert {path.parent for path in code} == packages
    installed = {path for package in packages for pattern in patterns for path in package.glob(pattern)}
    assert [path for path in files if path.suffix not in (".py", ".pyc") and path not in installed] == []


# Runs `fabnet` once for each of the comma-separated commands, where packages cannot be imported.
WITHOUT = """
import sys
class Hidden:
    def find_spec(self, name, *_):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
from pipelines import cli
from stages.runtime import workers
workers.available = lambda: 1  # other processes would not lack the packages
sys.exit(max(cli.run(line.split()) for line in sys.argv[2].split(",")))
"""


def fabnet(without: list[str], commands: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", WITHOUT, ",".join(without), ",".join(commands)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("package", "command", "wanted"),
    [("cyclopts", "embed", "."), ("pyarrow", "embed", "."), ("dvc", "doctor", "'.[pipeline]'")],
)
def test_fabnet_without_a_package_says_what_to_install(package, command, wanted, tmp_path):
    done = fabnet([package], [command], tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: .*`pip install -c constraints.txt -e {re.escape(wanted)}`\n", done.stderr)


@pytest.mark.slow
def test_a_plain_installation_is_all_that_ones_own_faces_need(tmp_path):
    """What the extra `pipeline` adds cannot be imported, but for what other packages need themselves."""
    of_others = {"jinja2", "networkx", "packaging"}
    added = declared(["pipeline"]) - declared([]) - of_others
    model = packaged.make(tmp_path / "tree", single, {"width": 4, "embedding": 6})
    image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE))
    video(tmp_path / "clip.mp4", moving(2))
    commands = ["embed face.png clip.mp4 --out faces.parquet", "attributes face.png --out faces.csv", "crops face.png",
                "overlay face.png", "overlay clip.mp4", "animate face.png clip.mp4",
                "retrieve faces.parquet face.png"]  # fmt: skip
    hidden = [module for module, names in OF_MODULE.items() if {canonicalize_name(name) for name in names} <= added]
    assert {"dvc", "scipy", "pandas"} <= set(hidden)
    weights = released_samples.file(tmp_path / "affectnet_4views.pth", 8)
    lines = [f"{command} --model {model}" for command in commands]
    lines += [f"embed clip.mp4 --released {weights} --out released.parquet", "verify released.parquet clip.mp4"]
    done = fabnet(hidden, lines, tmp_path)
    assert done.returncode == 0, done.stderr
