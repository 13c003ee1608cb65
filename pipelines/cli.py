"""The command `fabnet`: a trained network on one's own faces, and the project's own checks.

Commands are imported when they are called, so that neither `fabnet --help` nor the processes that look for faces,
which import this module, wait for PyTorch.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from stages import command

# Of each command in pipelines/own: what it does, and examples.
OWN = {
    "embed": (
        "Faces in videos and pictures to a table of embeddings.",
        """
        fabnet embed clip.mp4
        fabnet embed holiday/ clip.mp4 --fps 5 --out faces.parquet
        fabnet embed webcams.csv --largest
        fabnet embed crops/ --crops
        """,
    ),
    "attributes": (
        "Faces to a table of landmarks, pose, expression and action units.",
        """
        fabnet attributes clip.mp4
        fabnet attributes pictures/ --out attributes.parquet --detector yunet --weights yunet.onnx
        """,
    ),
    "retrieve": (
        "The faces of a table that are nearest to one face, printed and as a picture.",
        """
        fabnet retrieve faces.parquet face.jpg
        fabnet retrieve faces.parquet --row 12 --count 8 --other-sources
        """,
    ),
    "animate": (
        "A face warped by a driving video, as mp4.",
        """
        fabnet animate face.jpg driving.mp4 --out animated.mp4
        """,
    ),
    "overlay": (
        "Landmarks, pose and expression drawn onto a video, as mp4.",
        """
        fabnet overlay clip.mp4
        fabnet overlay clip.mp4 --out drawn.mp4 --largest
        """,
    ),
}


def _shown(examples: str) -> str:
    """Examples as they end a page of help."""
    lines = "\n".join(line.strip() for line in examples.strip().splitlines())
    return f"Examples:\n\n```\n{lines}\n```"


app = App(
    name="fabnet",
    help="Run a trained FAb-Net on your own faces; `fabnet COMMAND --help` shows examples.",
    help_format="markdown",
    version_flags=[],
    suppress_keyboard_interrupt=False,
)
for _name, (_help, _examples) in OWN.items():
    app.command(f"pipelines.own.{_name}:{_name}", help=_help, help_epilogue=_shown(_examples))
app.register_install_completion_command()


@app.command
def export(out: Path, kind: Literal["onnx", "torch"] = "onnx", model: Path = Path("data/packages/fabnet-0")) -> None:
    """Write encoder and probes as ONNX or torch.export, and check that their outputs agree.

    Args:
        out: The file.
        kind: What it is to be.
        model: Model file that the stage `package` wrote, or its folder.
    """
    from pipelines import export as exporting  # noqa: PLC0415

    print(f"{out}: outputs differ by at most {exporting.export(model, out, kind):.1e}")


@app.command
def doctor() -> int:
    """Show versions, device, disk, DVC and git, and what is wrong with them."""
    from pipelines import doctor as examination  # noqa: PLC0415

    return examination.main()


@app.command
def history(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Show how the reports changed between git revisions, tags or experiments: `fabnet history -- --help`."""
    from pipelines import history as comparison  # noqa: PLC0415

    return comparison.main(list(arguments))


def main() -> None:
    """Run one command. Exit status: 0 done, 1 a mistake told in one sentence, 2 a wrong option, 130 stopped."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    sys.exit(command.guarded(lambda: app(result_action="return_value")))


if __name__ == "__main__":
    main()
