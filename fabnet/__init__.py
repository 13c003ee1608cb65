"""FAb-Net and its relatives in plain PyTorch: frames in, embeddings out.

`load` brings a trained network into use. Nothing but `fabnet.inference.model_file` opens a file.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from fabnet.inference.network import Network


def load(path: "str | Path", device: Literal["auto", "cpu", "cuda"] = "auto") -> "Network":
    """A trained network, ready to use: `embed`, `attributes`, `warp`, see `fabnet.inference.network`.

    Args:
        path: a model file that the stage `package` wrote, or its folder.
        device: `auto` takes the accelerator if there is one.

    Raises:
        ValueError: one sentence: no such file, damaged, of another version, with pickled code, or no such device.
    """
    from pathlib import Path  # noqa: PLC0415  whoever imports one module of fabnet does not pay for this one

    from fabnet.inference import loading  # noqa: PLC0415

    return loading.load(Path(path), device)
