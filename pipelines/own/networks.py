"""The trained network that a command uses: where its file is found, and what it has never seen."""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stages.runtime import workers
from stages.runtime.errors import UserError
from stages.runtime.files import file_digest

if TYPE_CHECKING:
    from fabnet.inference.network import Network
    from fabnet.modules.model_file import Description

Device = Literal["auto", "cpu", "cuda"]
Kind = Literal["model", "released"]  # of a file with a network, see `fabnet.load`

VARIABLE = "FABNET_MODEL"
PYTORCH = (".pth", ".pt")  # suffixes of the authors' release
PACKAGES = Path("data/packages")
SEED = re.compile(r"fabnet-(\d+)")  # folder of a packaged network
CHECKOUT = Path(__file__).resolve().parents[2]  # the project, if it is installed as `make` does it


def locate(named: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The model file or its folder: the named one, that of FABNET_MODEL, or the project's `fabnet` of the first seed.

    The project is the one around the current folder, else the one that this command is installed from.

    Raises:
        UserError: the named one does not exist, or there is none.
    """
    if named is not None:
        return _existing(named, f"{named} does not exist: name a model file or its folder, or leave out --model")
    if chosen := environment.get(VARIABLE):
        return _existing(Path(chosen), f"{VARIABLE} should name a model file or its folder, found {chosen}, which "
                                       "does not exist: correct or unset it")  # fmt: skip
    for project in (Path(), *Path.cwd().parents, CHECKOUT):
        if found := first_seed(project / PACKAGES):
            return found
    raise UserError(f"no trained network is here: expected {PACKAGES}/fabnet-0 in this folder, one above it or "
                    f"{CHECKOUT}: run `make repro` there, or name a model file with --model or {VARIABLE}")  # fmt: skip


def choose(model: Path | None, released: Path | None) -> tuple[Path, Kind]:
    """The file of the network that a command uses, and what it is: `locate`, or a file of the authors' release.

    Raises:
        UserError: both are named, the named one does not exist, or there is none.
    """
    if released is None:
        return locate(model), "model"
    if model is not None:
        raise UserError(f"--model {model} and --released {released} name two networks: leave one of them out")
    missing = f"{released} does not exist: name a file of the authors' release, such as affectnet_4views.pth"
    return _existing(released, missing), "released"


def _existing(path: Path, otherwise: str) -> Path:
    if not path.exists():
        raise UserError(otherwise)
    return path


def first_seed(packages: Path) -> Path | None:
    """The packaged `fabnet` with the lowest seed."""
    seeds = {int(match[1]): path for path in packages.glob("fabnet-*") if (match := SEED.fullmatch(path.name))}
    return seeds[min(seeds)] if seeds else None


def load(path: Path, device: Device, kind: Kind = "model") -> "Network":
    """The network of a model file, or of a file of the authors' release.

    Raises:
        UserError: a file that this version cannot use, or no such device.
    """
    # Read as PyTorch starts. Its threads would else wait awake, on the cores where faces are detected.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import fabnet  # noqa: PLC0415  PyTorch takes seconds; `--help` and the processes that detect faces do not need it

    try:
        net = fabnet.load(path, device, kind=kind)
    except ValueError as error:
        is_mistaken = kind == "model" and path.suffix.lower() in PYTORCH
        hint = "; a file of the authors' release is named with --released" if is_mistaken else ""
        raise UserError(f"{error}{hint}") from None
    workers.keep_threads()
    return net


def metadata(net: "Network", path: Path) -> dict[str, str]:
    """Metadata of a table that name the network."""
    description = net.description
    origin = f"seed {description.seed}, {description.steps} steps"
    if description.method == "released":
        origin = "as its authors published it"
    return {
        "model": f"{description.method}, {origin}, {description.size_px} px",
        "model_sha256": digest(path),
        "config_hash": description.config_hash,
        "device": net.device.type,
        "crop": json.dumps(asdict(net.crop)),
    }


def digest(path: Path) -> str:
    """The sha256 of a model file, or of the one in a folder."""
    from fabnet.modules import model_file  # noqa: PLC0415  as above

    return file_digest(path / model_file.NAME if path.is_dir() else path)


def say_limits(description: "Description", path: Path) -> None:
    """Print one line if the network, or what reads attributes from it, knows only rendered heads."""
    if limits := _limits(description):
        print(f"note: {path} {limits}: do not trust it on real faces", file=sys.stderr)


def _limits(description: "Description") -> str:
    rendered = set(description.synthetic or ())
    if description.trained_on and rendered.issuperset(description.trained_on):
        return "was trained on the synthetic release and knows only rendered heads"
    heads = sorted(head.name for head in description.heads if head.dataset in rendered)
    return f"learnt {', '.join(heads)} from rendered heads alone" if heads else ""
