"""FAb-Net and related methods in plain PyTorch: frames in, embeddings out.

`load` opens a trained network. Nothing but `fabnet.inference` and `fabnet.modules.model_file` opens a file.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from fabnet.inference.network import Network


def load(
    path: "str | Path",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    *,
    kind: Literal["model", "released"] = "model",
) -> "Network":
    """A trained network, ready to use: `embed`, `attributes`, `warp`, see `fabnet.inference.network`.

    Args:
        path: a model file or its folder. A file of the stage `package` has attribute heads and the crop; one that
            training wrote (`data/models`) has neither: `attributes` is empty and `crop` is None.
        device: `auto` takes the accelerator if there is one.
        kind: `released` reads a file of the authors' release, such as affectnet_4views.pth, with the head in it.

    Raises:
        ValueError: one sentence: no such file, damaged, of another kind or version, or no such device.
    """
    from pathlib import Path  # noqa: PLC0415  importing a single module of fabnet should stay cheap

    from fabnet.inference import loading  # noqa: PLC0415

    if kind not in ("model", "released"):
        raise ValueError(f"kind should be model or released, found {kind!r}")
    load_kind = loading.load_released if kind == "released" else loading.load
    return load_kind(Path(path), device)
