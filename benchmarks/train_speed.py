"""How many training steps a second this machine makes: a table by input size, batch and precision.

Needs torch, numpy and Pillow alone. Data are random images, so the losses mean nothing:

    PYTHONPATH=. python benchmarks/train_speed.py --sizes 64 256 --batches 32

`ready` batches lie on the device; `decoded` ones come from JPEG files in memory through drawing, cropping and
scaling, as in the stage. `ratio` is relative to the first line of the same size and batch.
"""

import argparse
import io
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.rows import Row, SkippedError, cores
from fabnet.pretext import fabnet
from fabnet.training import pairs, train

IDENTITIES, FRAMES, SIDE_PX = 64, 8, 224
BATCH = 32  # of a comparison beside others
WARM_UP = 3  # steps that are not timed
HALF = {"precision": "bfloat16"}


def main() -> None:
    """Time every combination and print a line for each."""
    wanted = arguments()
    device = torch.device(wanted.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__} on {name}; {wanted.steps} steps of fabnet, width {wanted.width}, Adam")
    print(f"{'size':>5} {'batch':>5}  {'options':<32} {'input':<8} {'steps/s':>8} {'samples/s':>10} {'ratio':>6}")
    clips = jpegs()
    kinds: list[dict[str, Any]] = [{}]
    kinds += [HALF, HALF | {"fused": True}] if device.type == "cuda" else []
    kinds += [{**kind, "compile": wanted.compile} for kind in kinds] if wanted.compile else []
    for size_px in wanted.sizes:
        for batch in wanted.batches:
            first = None
            for kind, source in [(each, "ready") for each in kinds] + [(kinds[-1], "decoded")]:
                stream = decoded(clips, batch, size_px, device)
                frames = stream if source == "decoded" else repeat(next(stream))
                rate = steps_per_s(frames, wanted, size_px, device, kind)
                first = first or rate
                words = [kind.get("precision", "float32"), *(["fused"] if "fused" in kind else [])]
                name = " ".join([*words, *([kind["compile"]] if "compile" in kind else [])])
                line = f"{size_px:>5} {batch:>5}  {name:<32} {source:<8} {rate:>8.2f} {rate * batch:>10.1f}"
                print(f"{line} {rate / first:>6.2f}", flush=True)


def compare(wanted: argparse.Namespace) -> Iterator[Row]:
    """Rows for half precision on a GPU."""
    if not torch.cuda.is_available():
        raise SkippedError("there is no GPU; benchmarks/on_gpu.sh runs where there is one")
    device = torch.device("cuda")
    sizes, wanted = wanted.sizes, argparse.Namespace(width=32, steps=50)
    for size_px in sizes:
        frames = repeat(next(decoded(jpegs(), BATCH, size_px, device)))
        plain, half = (steps_per_s(frames, wanted, size_px, device, kind) for kind in ({}, HALF))
        yield Row("train_speed", f"bfloat16, batch {BATCH}, {size_px} px", "steps/s", "float32", half, plain)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256], metavar="PX")
    parser.add_argument("--batches", type=int, nargs="+", default=[32], metavar="N")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed (default: 30)")
    parser.add_argument("--width", type=int, default=32, help="channels of the first convolution (default: 32)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is one")
    parser.add_argument("--compile", metavar="MODE", help="also time this mode of torch.compile, as `default`")
    return parser.parse_args()


def steps_per_s(
    frames: Iterable[Tensor],
    wanted: argparse.Namespace,
    size_px: int,
    device: torch.device,
    kind: Mapping[str, Any],
) -> float:
    """Rate after an epoch of warm-up; both end when their losses are read, so the clock needs no synchronisation."""
    torch.manual_seed(0)
    method = fabnet.build(fabnet.Params(width=wanted.width, embedding=256), size_px=size_px)
    settings = train.Settings("adam", 1e-4, 0.9, 0.0, 2, plateau_factor=0.1, plateau_patience=1, **kind)
    trainer = train.Trainer(method, settings, device=device)
    validation = list(islice(frames, 1))
    started: list[float] = []
    ended: list[float] = []

    def batches(epoch: int, _: int) -> Iterator[Tensor]:
        started.append(time.perf_counter())
        return islice(frames, WARM_UP if epoch == 1 else wanted.steps)

    def after_losses_are_read() -> list[Tensor]:
        ended.append(time.perf_counter())
        return validation

    for _ in trainer.epochs(batches, after_losses_are_read, lambda: None):
        pass
    return wanted.steps / (ended[-1] - started[-1])


def jpegs() -> list[bytes]:
    """Smooth random images, which compress about as faces do."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (IDENTITIES * FRAMES, 28, 28, 3), np.uint8)
    return [_jpeg(Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)) for image in coarse]


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=95)
    return file.getvalue()


def decoded(clips: list[bytes], batch: int, size_px: int, device: torch.device) -> Iterator[Tensor]:
    """Endless batches of pairs, drawn and cropped as in training."""
    identities = np.arange(IDENTITIES)
    tracks = pairs.Tracks.of(identities, identities, FRAMES * identities, np.full(IDENTITIES, FRAMES))
    sizes = np.full((len(clips), 2), SIDE_PX)
    jitter_px = np.tile([170, 190], (len(clips), 1))
    rng = np.random.default_rng(0)

    def load(row: int) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(clips[row])) as image:
            return np.asarray(image)

    while True:
        drawn = pairs.draw(tracks, sizes, jitter_px, frames=2, draws_per_identity=batch, rng=rng)
        yield from pairs.batches(drawn, load, batch=batch, size_px=size_px, device=device, workers=cores())


if __name__ == "__main__":
    main()
