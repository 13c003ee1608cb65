"""What the authors' demo printed, from the files of their release: FABNET_RELEASE names the folder that holds them.

Needed there: aflwpose_nv4.pth and affectnet_4views.pth, in it or in its folder `release`, and the demo's two images,
anywhere below. What is missing is skipped.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from released_samples import PARAMS, networks, published

from fabnet import images, probe_head
from fabnet.boxes import PixelBox
from fabnet.modules import crops
from fabnet.pretext import released
from fabnet.probes import classes, pose

RELEASE = os.environ.get("FABNET_RELEASE", "")
ORIGINAL = released.Params("", "", 256, 32, 256)
POSE_DEG = (3.45, -11.20, -38.08)  # roll, pitch, yaw
EMOTIONS = (0.1699, 0.0837, 0.1270, 0.1907, 0.1915, 0.0599, 0.0967)  # sigmoids over their sum; contempt is not printed


def find(folder: str | Path, pattern: str) -> Path:
    """The one file of that name below the folder."""
    found = sorted(Path(folder).rglob(pattern)) if folder else []
    if not found:
        pytest.skip(f"FABNET_RELEASE should name a folder with {pattern}, found {folder or 'nothing'}")
    return found[0]


def outputs(weights: Path, image: Path, box: PixelBox | None, params: released.Params = ORIGINAL) -> torch.Tensor:
    """(K,) outputs of the head in a published file for one image, or for a box in it."""
    with weights.open("rb") as file:
        method = released.supplied(params, file).eval()
    rgb = np.asarray(Image.open(image).convert("RGB"))
    face = rgb if box is None else images.cut(rgb, box)
    own = method.own_head()
    assert own is not None
    with torch.inference_mode():
        embedding = method.encoder(crops.resize(torch.from_numpy(face)[None], params.size_px)).flatten(1)
        return probe_head.layers(own.state)(embedding.double())[0]


def test_the_pose_of_the_demo():
    weights, image = find(RELEASE, "aflwpose_nv4.pth"), find(RELEASE, "image66922.jpg")
    found = pose.link(outputs(weights, image, (237, 228, 332, 323))).rad2deg()
    assert found.tolist() == pytest.approx(POSE_DEG, abs=0.1)


def test_the_expression_of_the_demo():
    weights, image = find(RELEASE, "affectnet_4views.pth"), find(RELEASE, "991_7803ea*51b206e.jpg")
    found = classes.link(outputs(weights, image, None))
    assert (found / found.sum())[:7].tolist() == pytest.approx(EMOTIONS, abs=0.003)


def test_the_demo_runs_on_an_imitation_of_the_release(tmp_path: Path):
    net, head = networks(3)
    torch.save(
        published(net, head, counters=False), tmp_path / "aflwpose_nv4.pth", _use_new_zipfile_serialization=False
    )
    pixels = np.random.default_rng(2).integers(0, 256, (60, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image66922.png")
    found = outputs(find(tmp_path, "aflwpose_nv4.pth"), tmp_path / "image66922.png", (5, 10, 45, 50), PARAMS)
    theirs = Image.fromarray(pixels).crop((5, 10, 45, 50)).resize((32, 32), Image.Resampling.BILINEAR)
    frames = torch.from_numpy(np.array(theirs)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = head(net.encoder(frames).flatten(1))[0]
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.01)
