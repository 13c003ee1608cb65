"""Canaries: a value that nobody else has for each variable that may carry a secret, and a search for them."""

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import warm_python
from faulty_server import FINE, Fault, Request
from releases import zip_bytes

from pipelines import profile

ROOT = Path(__file__).parents[2]

CANARIES = {name: f"c4nary-{name}" for name in ("KEY", "USER", "PASSWORD", "URL", "MIRROR", "PROXY")}
LOGIN = base64.b64encode(f"{CANARIES['USER']}:{CANARIES['PASSWORD']}".encode()).decode()
NEVER = ["c4nary", LOGIN, LOGIN[4:-4], base64.b64encode(CANARIES["KEY"].encode()).decode().rstrip("=")]

FILES = {
    "vox2_dev_mp4_partaa": zip_bytes({"dev/mp4/id00012/v/00001.mp4": b"clip"}),
    "vox2_meta.csv": b"id,set\nid00012,dev\n",
}
REGISTRY = "vox2_dev_mp4_partaa - - VOXCELEB\nvox2_meta.csv - - VOXCELEB\n"
ECHO = f"no file for key={CANARIES['KEY']}, user {CANARIES['USER']}\n".encode()  # what a server may answer
DVC_YAML = """
stages:
  fetch:
    matrix: {name: [voxceleb2, emotionet]}
    cmd: python -m stages.fetch ${item.name} --registries registries --out data/raw/${item.name}
    params:
    - dataset.${item.name}.fetch
    outs:
    - data/raw/${item.name}
"""


def make_project(folder: Path) -> None:
    """A repository of DVC in `folder`, with the stage `fetch` of two data sets, which are to be downloaded."""
    (folder / "registries").mkdir(parents=True)
    (folder / "registries" / "voxceleb2.txt").write_text(REGISTRY, encoding="utf-8")
    (folder / "registries" / "emotionet.txt").write_text("", encoding="utf-8")
    params = profile.text("sample", ROOT / "profiles").replace("source: synthetic", "source: http")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")


def environment(**secrets: str) -> dict[str, str]:
    """The environment without variables of hosts, and with `secrets`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FABNET_")}
    return {**inherited, "PATH": warm_python.path(), "PYTHONPATH": str(ROOT), **secrets}


def leaks(text: str) -> list[str]:
    return [part for part in NEVER if part in text]


def left_behind(folder: Path) -> dict[str, list[str]]:
    """Secrets by the file that holds one: in its name, in its bytes, or in the rows of a table."""
    found = {path.relative_to(folder).as_posix(): leaks(f"{path.name} {contents(path)}") for path in files(folder)}
    return {name: secrets for name, secrets in found.items() if secrets}


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def contents(path: Path) -> str:
    if path.suffix == ".parquet":
        return str(pq.read_table(path).to_pylist())
    return path.read_text("latin-1")


def of_processes() -> list[str]:
    """Secrets in the command lines of all processes that run now."""
    lines: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text("latin-1"))
        except OSError:
            continue  # it has ended
    return leaks("\n".join(lines))


def watched(seen: list[str], then: Mapping[str, Fault]) -> Callable[[Request], Fault]:
    """Answers by path; before each one the process list is read."""

    def fault(request: Request) -> Fault:
        seen.extend(of_processes())
        return then.get(request.path, FINE)

    return fault
