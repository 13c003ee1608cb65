"""The files of a release, in build/assets: the network of the sample with its card, the report, its table, checksums.

With them the command `fabnet` runs without a training. Only a network of rendered faces is taken: another one has the
terms of its data.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from fabnet.modules import model_file
from pipelines.dvc import graph
from stages.runtime import command
from stages.runtime.errors import UserError
from stages.runtime.files import file_digest, replace_text

OUT = Path("build/assets")
PACKAGE = re.compile(r"package@fabnet-(\d+)")  # stage of a network, with its seed
REPORTS = Path("data/reports")


def write(root: Path) -> list[Path]:
    """The written files, the checksums last; files of an earlier call are replaced.

    Raises:
        UserError: network or report are missing or older than code and parameters, a real face is behind them, or
            `fabnet` is not among the methods.
    """
    package = _package(root)
    sources = _sources(root, package.outs[0])
    if missing := [path for path in sources.values() if not path.exists()]:
        raise UserError(f"{missing[0]} is missing: run `make repro` or `dvc pull`")
    if old := sorted({package.name, "report"} & graph.changed(root)):
        raise UserError(f"{' and '.join(old)} should be up to date, found changed code, parameters or data: "
                        "run `make repro`")  # fmt: skip
    _check_rendered(sources[model_file.NAME])
    out = root / OUT
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    written = [Path(shutil.copyfile(path, out / name)) for name, path in sources.items()]
    sums = out / "SHA256SUMS"
    replace_text(sums, "".join(f"{file_digest(path)}  {path.name}\n" for path in written))
    return [*written, sums]


def _package(root: Path) -> graph.Stage:
    """The stage that packages `fabnet` of the lowest seed."""
    seeds = {int(match[1]): stage for stage in graph.ordered(root) if (match := PACKAGE.fullmatch(stage.name))}
    if not seeds:
        raise UserError("`methods` should name fabnet, whose network is released: `make repro PROFILE=sample` runs it")
    return seeds[min(seeds)]


def _sources(root: Path, package: Path) -> dict[str, Path]:
    """Name of each file in the release -> where it is made."""
    return {
        model_file.NAME: package / model_file.NAME,
        "model-card.md": package / "README.md",
        "report.html": root / REPORTS / "report.html",
        "metrics.parquet": root / REPORTS / "metrics.parquet",
    }


def _check_rendered(path: Path) -> None:
    try:
        description, _ = model_file.read(path)
    except ValueError as error:
        raise UserError(f"{path} is not a usable model file: {error}") from None
    if real := sorted(set(description.datasets) - set(description.synthetic or ())):
        raise UserError(f"{path} should have seen rendered faces alone, found {', '.join(real)}: the owners' terms "
                        "apply to it, so release the network of the profile `sample`")  # fmt: skip


def main(arguments: Sequence[str], root: Path = Path()) -> None:
    """Command line.

    Raises:
        UserError: as `write`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.assets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    for path in write(root):
        print(f"{path}  {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    sys.exit(command.guarded(lambda: main(sys.argv[1:])))
