"""The command `fabnet`: a trained network on one's own faces, and the project's own checks.

Commands are imported when they are called, so that neither `fabnet --help` nor the processes that detect faces,
which import this module, wait for PyTorch.
"""

import logging
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

try:
    from cyclopts import App, Parameter
except ModuleNotFoundError:
    sys.exit("error: the command `fabnet` needs the package cyclopts: run `pip install -c constraints.txt -e .`")

from stages.runtime import command
from stages.runtime.errors import UserError

DIFFERENT = 3  # exit status of `verify`: crops or faces differ

# Help and examples of each command in pipelines/own.
OWN = {
    "embed": (
        "Write a table with the embeddings of all faces in videos and images.",
        """
        fabnet embed clip.mp4
        fabnet embed holiday/ clip.mp4 --fps 5 --out faces.parquet
        fabnet embed webcams.csv --one-face
        fabnet embed crops/ --crops
        fabnet embed clip.mp4 --released affectnet_4views.pth
        """,
    ),
    "attributes": (
        "Write a table with landmarks, pose, expression and action units of all faces.",
        """
        fabnet attributes clip.mp4 --out attributes.csv
        fabnet attributes images/ --out attributes.parquet --detector yunet --weights yunet.onnx --min-score 0.6
        """,
    ),
    "crops": (
        "Cut out all faces as images, with an index.",
        """
        fabnet crops clip.mp4 --out faces
        fabnet crops holiday/ --out faces.tar --png --largest
        """,
    ),
    "retrieve": (
        "Show the faces of a table that are nearest to one face, in the terminal and as an image.",
        """
        fabnet retrieve faces.parquet face.jpg
        fabnet retrieve faces.parquet --row 12 --count 8 --other-sources
        """,
    ),
    "animate": (
        "Warp a face by a driving video, as mp4.",
        """
        fabnet animate face.jpg driving.mp4 --out animated.mp4
        """,
    ),
    "overlay": (
        "Draw landmarks, pose and expression onto a video or an image.",
        """
        fabnet overlay clip.mp4
        fabnet overlay clip.mp4 --out drawn.mp4 --largest
        fabnet overlay face.jpg
        """,
    ),
}


def _shown(examples: str) -> str:
    """Examples as Markdown for the end of a help page."""
    lines = "\n".join(line.strip() for line in examples.strip().splitlines())
    return f"Examples:\n\n```\n{lines}\n```"


def _version() -> str:
    """Versions of this project and of PyTorch, which is not imported for that."""
    return ", ".join(f"{name} {_installed(name)}" for name in ("fabnet-pipelines", "torch"))


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


app = App(
    name="fabnet",
    help="Run a trained FAb-Net on your own faces; `fabnet COMMAND --help` shows examples.",
    help_format="markdown",
    version=_version,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
for _name, (_help, _examples) in OWN.items():
    app.command(f"pipelines.own.{_name}:{_name}", help=_help, help_epilogue=_shown(_examples))
app.register_install_completion_command()


@app.command(help_epilogue=_shown("""
    fabnet export fabnet.onnx
    fabnet export fabnet.pt2 --model data/packages/fabnet_sources-0
    fabnet export released.onnx --released affectnet_4views.pth
"""))  # fmt: skip
def export(out: Path, *, model: Path | None = None, released: Path | None = None) -> None:
    """Write encoder and probes as ONNX or torch.export, and check that their outputs agree.

    Args:
        out: The file: *.onnx, or *.pt2 for torch.export.
        model: Model file, or its folder. If left out: what FABNET_MODEL names, else data/packages/fabnet-0 of the
            project.
        released: Instead of `model`: a file of the authors' release, such as affectnet_4views.pth.
    """
    from pipelines.own import export as exporting  # noqa: PLC0415

    print(f"{out}: outputs differ by at most {exporting.export(model, out, released=released):.1e}")


@app.command(help_epilogue=_shown("fabnet doctor"))
def doctor() -> int:
    """Show versions, device, disk, DVC and git, and what is wrong with them."""
    from pipelines import doctor as examination  # noqa: PLC0415

    return examination.main()


@app.command(help_epilogue=_shown("""
    fabnet history HEAD~1
    fabnet history main my-experiment -- --html changes.html
"""))  # fmt: skip
def history(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Show how the reports changed between git revisions, tags or experiments: `fabnet history -- --help`."""
    from pipelines import history as comparison  # noqa: PLC0415

    comparison.main(list(arguments))


@app.command(help_epilogue=_shown("""
    fabnet fingerprint voxceleb2.parquet --dataset voxceleb2
"""))  # fmt: skip
def fingerprint(out: Path, *, dataset: str) -> None:
    """Write a table that names every crop of a data set by digests and holds no picture; it may be published.

    Args:
        out: The table, a Parquet file.
        dataset: Data set whose crops are in this project: voxceleb2, w300 ...
    """
    from pipelines.fingerprints import crops  # noqa: PLC0415

    found = crops.here(dataset)
    crops.write(out, found)
    print(f"{out}: {len(found.rows)} crops of {dataset}")


@app.command(help_epilogue=_shown("""
    fabnet verify voxceleb2.parquet
    fabnet verify voxceleb2.parquet --out differences.parquet
    fabnet verify faces.parquet clip.mp4
    fabnet verify faces.parquet clip.mp4 --released weights/affectnet_4views.pth
"""))  # fmt: skip
def verify(
    table: Path,
    *files: Path,
    out: Path | None = None,
    other_release: Annotated[bool, Parameter(negative=())] = False,
    model: Path | None = None,
    released: Path | None = None,
    weights: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Make a table again and compare; the exit status is 3 if it differs.

    A table of faces (`fabnet embed`, `attributes`, `crops`) is made again from its files, as its metadata say. A table
    of crops (`fabnet fingerprint`, of another laboratory) is compared with the crops of this project.

    Args:
        table: The table, Parquet.
        files: Faces: the videos and images, wherever they lie now. If left out: those that the table names.
        out: A Parquet file for the differences, one row for each face or crop.
        other_release: Crops: compare even if the table was made from other files of the data set.
        model: Faces: the model file, if it lies elsewhere now.
        released: Faces: the file of the authors' release, if it lies elsewhere now.
        weights: Faces: the detector's weight file, if it lies elsewhere now.
        device: Faces: where the network runs.
    """
    from pipelines.own import provenance  # noqa: PLC0415

    if provenance.is_of_faces(table):
        from pipelines.own import options, verification  # noqa: PLC0415

        here = options.Options(model=model, released=released, weights=weights, device=device)
        again = verification.verify(table, files, here)
        if out:
            verification.write(out, again)
        print(*verification.summary(again), sep="\n")
        return 0 if again.is_same else DIFFERENT
    if files:
        raise UserError(f"{table} is no table of faces, so it is verified without files: found {files[0]}")
    return _verify_crops(table, out, other_release=other_release)


def _verify_crops(table: Path, out: Path | None, *, other_release: bool) -> int:
    from pipelines.fingerprints import comparison, crops  # noqa: PLC0415

    theirs = crops.read(table)
    ours = crops.here(theirs.dataset)
    if not other_release:
        comparison.check_release(ours, theirs, table)
    found = comparison.compare(ours, theirs)
    if out:
        comparison.write(out, found)
    print(*comparison.summary(found, str(table)), sep="\n")
    return DIFFERENT if len(found.rows) else 0


def run(arguments: Sequence[str]) -> int:
    """Exit status of a command: 0 done, 1 a user error in one sentence, 2 a wrong option, 3 see verify, 130 stopped."""
    goes_on = not arguments or arguments[0] in ("embed", "attributes", "crops")
    return command.guarded(lambda: _called(arguments), command.RESUMABLE if goes_on else command.CLEAN)


def _called(arguments: Sequence[str]) -> int | None:
    """What the command returns; a file that cannot be opened, or a missing package, becomes a user error."""
    try:
        return app(arguments, result_action="return_value")
    except ImportError as error:
        missing = error.__cause__ or error  # cyclopts wraps it when it imports a command
        if not isinstance(missing, ModuleNotFoundError):
            raise
        wanted = "." if arguments[0] in OWN else "'.[pipeline]'"
        raise UserError(f"this command needs the package {missing.name}, which is not installed: run "
                        f"`pip install -c constraints.txt -e {wanted}`") from None  # fmt: skip
    except OSError as error:
        if error.errno in command.DISK or error.filename is None:
            raise
        raise UserError(f"{error.filename}: {error.strerror}") from error


def main() -> None:
    """Run the command that the terminal names."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)  # other packages: their warnings alone
    for package in ("pipelines", "stages", "fabnet"):
        logging.getLogger(package).setLevel(logging.INFO)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
