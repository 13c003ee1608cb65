"""`fabnet` runs where only PyTorch, NumPy, OpenCV and safetensors are installed."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import visible_modules
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BASE = ["numpy", "opencv-python", "safetensors", "torch"]

# Methods whose loss comes from one more package, which they import when they are built.
NEED_MORE = {"contrastive": "pytorch_metric_learning", "vicreg": "pytorch_metric_learning"}

# Imports all of fabnet. Each method that can be built without a weight file is asked for a loss and takes a step; the
# others are named with what they lack.
PROGRAM = """
import importlib, pkgutil, sys
import fabnet, torch
for module in pkgutil.walk_packages(fabnet.__path__, "fabnet."):
    importlib.import_module(module.name)
    print(module.name)
for module in pkgutil.iter_modules(sys.modules["fabnet.pretext"].__path__, "fabnet.pretext."):
    plugin = sys.modules[module.name]
    if hasattr(plugin, "supplied"):
        continue
    params = plugin.Params(**dict.fromkeys(plugin.Params.__dataclass_fields__, 8))
    try:
        method = plugin.build(params, size_px=32)
    except ModuleNotFoundError as error:
        print(module.name, "lacks", error.name)
        continue
    loss = method.losses(torch.rand(2, max(method.frames, 1), 3, 32, 32))["loss"]
    assert torch.isfinite(loss)
    if loss.requires_grad:
        loss.backward()
        torch.optim.SGD(method.parameters(), lr=0.01).step()
        print(module.name, "takes a step")
"""


def with_requirements(names: list[str]) -> set[str]:
    """The named distributions and all that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            needs = map(Requirement, metadata.requires(name) or [])
            waiting += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    return found


def run_with(distributions: list[str]) -> subprocess.CompletedProcess[str]:
    owners = with_requirements(distributions)
    visible = [
        name for name, by in metadata.packages_distributions().items() if owners & set(map(canonicalize_name, by))
    ]
    command = [sys.executable, "-c", visible_modules.only(["fabnet", *visible]) + PROGRAM]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_all_of_fabnet_runs_and_trains_with_these_packages_alone():
    done = run_with(BASE)
    assert done.returncode == 0, done.stderr
    assert "fabnet.pretext.fabnet takes a step" in done.stdout
    modules = {path.stem for path in (ROOT / "fabnet").rglob("*.py")} - {"__init__"}
    lines = [line.rsplit(".", 1)[-1] for line in done.stdout.splitlines()]
    assert modules <= set(lines)
    assert dict(line.split(" lacks ") for line in lines if " lacks " in line) == NEED_MORE


def test_a_package_that_is_needed_and_hidden_is_noticed():
    done = run_with(["torch"])
    assert done.returncode != 0
    assert "No module named" in done.stderr
