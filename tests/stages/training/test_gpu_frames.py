import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from track_samples import write_tracks

from fabnet.modules.frame_choice import Choice
from fabnet.training import pairs
from stages.runtime.errors import UserError
from stages.storage import media
from stages.training import gpu_frames
from stages.training.gpu_frames import GpuFrames
from stages.training.trackset import TrackSet, TrackSource

CPU = torch.device("cpu")


def frames(root: Path) -> TrackSet:
    write_tracks(root)
    return TrackSource(root / "tracks", root / "splits", ["voxceleb1"], {"voxceleb1": (36, 40)}).load(2, "pretrain")


def by_opencv(jpegs: Sequence[bytes], *, mode: str, device: torch.device) -> list[torch.Tensor]:
    """In place of torchcodec's `decode_jpeg`, on the CPU."""
    assert mode == "RGB"
    images = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB) for jpeg in jpegs]
    if any(image is None for image in images):
        raise RuntimeError("nvjpeg: 6")
    return [torch.from_numpy(image).permute(2, 0, 1).to(device) for image in images]


def torchcodec() -> gpu_frames.Decode:
    try:
        return gpu_frames.torchcodec()
    except UserError as error:
        return pytest.skip(str(error))


def overwrite(root: Path, tracks: TrackSet, row: int, data: bytes, at: int = 0) -> None:
    _, shard = tracks.places.shards[tracks.places.shard[row]]
    with (root / "tracks" / "voxceleb1" / shard).open("r+b") as file:
        file.seek(tracks.places.offset[row] + at)
        file.write(data)


def test_frames_that_are_decoded_by_batches_train_as_single_ones_do(tmp_path: Path):
    tracks = frames(tmp_path)
    together = GpuFrames(tracks, CPU, by_opencv)
    drawn = pairs.draw(
        tracks.tracks["train"],
        tracks.sizes,
        tracks.jitter_px,
        choice=Choice(2),
        draws_per_identity=5,
        rng=np.random.default_rng(0),
    )
    plain = pairs.batches(drawn, tracks.image, batch=4, size_px=32, device=CPU, workers=2)
    ours = pairs.batches(drawn, together.read, decode=together.decode, batch=4, size_px=32, device=CPU, workers=2)
    for one, other in zip(plain, ours, strict=True):
        assert torch.equal(one, other)


def test_a_frame_that_is_cut_short_is_named_before_it_is_decoded(tmp_path: Path):
    tracks = frames(tmp_path)
    size = int(tracks.places.size[3])
    overwrite(tmp_path, tracks, 3, bytes(size // 2), at=size // 2)
    with pytest.raises(UserError, match=r"voxceleb1, frame at \d+ in 00000\.tar: image is cut short.*force crop"):
        GpuFrames(tracks, CPU, by_opencv).read(3)


def test_a_damaged_frame_is_named_among_those_of_its_batch(tmp_path: Path):
    tracks = frames(tmp_path)
    together = GpuFrames(tracks, CPU, by_opencv)
    overwrite(tmp_path, tracks, 2, bytes(20), at=20)  # the tables that follow the header
    encoded = [together.read(row) for row in range(4)]
    with pytest.raises(
        UserError, match=rf"voxceleb1, frame at {tracks.places.offset[2]} in 00000\.tar: image is damag"
    ):
        together.decode(encoded)


def test_what_only_the_gpu_cannot_decode_is_a_user_error(tmp_path: Path):
    def broken(*_: object, **__: object) -> list[torch.Tensor]:
        raise RuntimeError("nvjpeg: 9")

    together = GpuFrames(frames(tmp_path), CPU, broken)
    with pytest.raises(UserError, match=r"nvjpeg: 9; set pretrain\.jpeg_decoder to opencv"):
        together.decode([together.read(0)])


def test_a_package_that_does_not_fit_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "torchcodec"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('libnvrtc.so.13: cannot open')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"does not fit PyTorch .* \(libnvrtc\.so\.13: cannot open\): set pretrain"):
        gpu_frames.torchcodec()


def test_torchcodec_on_a_cpu_gives_the_pixels_of_opencv(tmp_path: Path):
    together = GpuFrames(frames(tmp_path), CPU, torchcodec())
    for row, image in enumerate(together.decode([together.read(row) for row in range(8)])):
        assert np.array_equal(image.numpy(), together.frames.image(row))


@pytest.mark.gpu
def test_torchcodec_on_a_gpu_gives_nearly_the_pixels_of_opencv():
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8), (190, 190))
    jpeg = media.encode_jpeg(smooth, 95)
    (image,) = torchcodec()([jpeg], mode="RGB", device=torch.device("cuda"))
    difference = image.permute(1, 2, 0).cpu().numpy().astype(int) - media.decode_image(jpeg)
    assert np.abs(difference).mean() < 2  # of 255; colours are half as wide and high in a JPEG, and enlarged otherwise
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.5  # no channel is brighter or darker
