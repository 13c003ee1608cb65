"""An encoder that a user supplies, from its file to the table of embeddings."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm_samples
import torch
from face_samples import face_image, write_faces
from model_samples import described
from torch import nn

from fabnet.modules import crops
from fabnet.pretext import own
from stages import embed
from stages.runtime import plugins, tables
from stages.runtime.errors import UserError
from stages.runtime.params import EmbedParams
from stages.storage import media
from stages.training import models

SIZE_PX = 32
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from timm_samples.imported(tmp_path, monkeypatch)


def embedded(root: Path, data: bytes, **settings: Any) -> np.ndarray:
    """The embedding of face 4 by the stages, from a weight file with these settings."""
    (root / "encoder.bin").write_bytes(data)
    values = {"weights": str(root / "encoder.bin"), "weights_sha256": hashlib.sha256(data).hexdigest(), **settings}
    values = {"name": "", "size_px": SIZE_PX, "mean": MEAN, "std": STD} | values
    net = models.build(own, plugins.settings(own, values, "method.own"), seed=0, size_px=64)
    models.save(root / "model", described("own", values, size_px=SIZE_PX), net)
    write_faces(root / "faces" / "affectnet")
    embed.run(
        model=root / "model", faces=root / "faces", tracks=root, track_splits=root, out=root / "out",
        journal=root / "journal", face_sets=["affectnet"], track_sets=[], followed=[],
        embed=EmbedParams(batch=3, device="cpu", frames_per_track=1),
    )  # fmt: skip
    rows = tables.read(root / "out" / "affectnet.parquet", tables.EMBEDDINGS).to_pylist()
    return np.array(next(row["embedding"] for row in rows if row["sample_id"] == "4"))


def expected(net: nn.Module) -> np.ndarray:
    """What the network makes of face 4 as it is stored: RGB, resized, normalised."""
    stored = media.decode_image(media.encode_jpeg(face_image(4), 95))
    frames = crops.resize(torch.from_numpy(stored)[None], SIZE_PX)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    with torch.inference_mode():
        return net.eval()((frames - mean) / std).flatten().numpy()


def test_a_timm_vit_embeds_faces_as_it_does_by_itself(tmp_path: Path, timm: Any):
    full = timm.create_model("vit", img_size=SIZE_PX)
    found = embedded(tmp_path, timm_samples.weights_of(full), kind="timm", name="vit")
    full.head = nn.Identity()
    assert found == pytest.approx(expected(full), abs=1e-5)


def test_a_traced_program_embeds_faces_as_its_network_does(tmp_path: Path):
    net = nn.Sequential(nn.Conv2d(3, 5, 16, stride=16), nn.GELU(), nn.AdaptiveAvgPool2d(1)).eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(net, torch.rand(2, 3, SIZE_PX, SIZE_PX)), buffer)
    assert embedded(tmp_path, buffer.getvalue(), kind="torchscript") == pytest.approx(expected(net), abs=1e-5)


def test_a_program_that_was_traced_for_one_image_is_refused(tmp_path: Path):
    class OfOne(nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.reshape(int(frames.shape[0]), -1)

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(OfOne(), torch.rand(1, 3, SIZE_PX, SIZE_PX)), buffer)
    with pytest.raises(UserError, match="cannot be used as the weights of own: expected embeddings"):
        embedded(tmp_path, buffer.getvalue(), kind="torchscript")
