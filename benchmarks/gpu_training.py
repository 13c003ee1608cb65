"""A real training of `fabnet` for some minutes on frames that `benchmarks/gpu_pack.py` packed.

Needs PyTorch, torchvision or Pillow, NumPy and safetensors alone. The folder that it writes is a model folder, so that
`stages.embed` and `stages.probe` judge it elsewhere; weights are float16 to keep it small:

    PYTHONPATH=. python benchmarks/gpu_training.py --packed .gpu --out results --minutes 4
"""

import argparse
import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from fabnet.modules import devices, model_file
from fabnet.modules.method import Method
from fabnet.modules.model_file import Description
from fabnet.pretext import fabnet
from fabnet.training import pairs
from fabnet.training.train import Epoch, Settings, Trainer

SEED = 0
DRAWS = 32  # samples that an epoch draws from each identity: epochs of seconds, as the clock is read after each
THREADS = 16


@dataclass
class Packed:
    """Decoded frames and whose they are."""

    images: list[NDArray[np.uint8]]  # RGB (H, W, 3)
    tracks: dict[str, pairs.Tracks]  # by split
    sizes: NDArray[np.int64]
    jitter_px: NDArray[np.int64]

    def draw(self, split: str, draws: int, *random_state: int) -> pairs.Draw:
        """An epoch of samples of two frames."""
        return pairs.draw(
            self.tracks[split],
            self.sizes,
            self.jitter_px,
            frames=2,
            draws_per_identity=draws,
            rng=np.random.default_rng(random_state),
        )


def unpack(path: Path) -> Packed:
    """Read and decode everything; it stays in memory."""
    with np.load(path) as packed:
        jpeg, ends, sizes, jitter_px = (packed[name] for name in ("jpeg", "ends", "sizes", "jitter_px"))
        columns = [field.name for field in fields(pairs.Tracks)]
        tracks = {split: pairs.Tracks(*(packed[f"{split}_{name}"] for name in columns)) for split in ("train", "val")}
    starts = [0, *ends[:-1].tolist()]
    with ThreadPoolExecutor(THREADS) as pool:
        images = list(pool.map(lambda place: _decode(jpeg[place[0] : place[1]]), zip(starts, ends, strict=True)))
    return Packed(images, tracks, sizes, jitter_px)


def _decode(jpeg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(jpeg.tobytes())) as image:
        return np.asarray(image.convert("RGB"))


def train(
    packed: Packed, trainer: Trainer, shared: dict[str, Any], seconds: float, after: Callable[[Epoch], None]
) -> None:
    """Train for about so many seconds: until the first epoch that ends later. `after` is called with each epoch."""

    def batches(split: str, draws: int, *random_state: int) -> Iterator[Tensor]:
        return pairs.batches(
            packed.draw(split, draws, *random_state),
            packed.images.__getitem__,
            batch=shared["batch"],
            size_px=shared["size_px"],
            device=trainer.device,
            workers=THREADS,
        )

    draws = -(-shared["val_samples"] // len(packed.tracks["val"]))
    validation = list(batches("val", draws, 0))
    end = time.monotonic() + seconds
    for epoch in trainer.epochs(lambda n, _: batches("train", DRAWS, SEED, n), lambda: validation, lambda: None):
        after(epoch)
        if time.monotonic() > end:
            return


def small(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as float16; counters stay whole numbers."""
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    return {name: value.detach().cpu().contiguous() for name, value in halved.items()}


class Results:
    """What a training leaves in its folder."""

    def __init__(self, out: Path, encoder: nn.Module, checkpoint_seconds: float) -> None:
        (out / "checkpoints").mkdir(parents=True)
        self._out, self._encoder, self._every = out, encoder, checkpoint_seconds
        self._start = self._last = time.monotonic()
        self._steps = 0

    def add(self, epoch: Epoch) -> None:
        """A line of the history, and a checkpoint of the encoder when it is time."""
        now = time.monotonic()
        row = {
            "epoch": epoch.number,
            "step": epoch.steps,
            "seconds": round(now - self._start, 1),
            "lr": epoch.lr,
            **{f"train_{name}": value for name, value in epoch.train.items()},
            **{f"val_{name}": value for name, value in epoch.val.items()},
        }
        path = self._out / "history.csv"
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        rate = epoch.steps / (now - self._start)
        losses = f"loss train {epoch.train['loss']:.4f}, val {epoch.val['loss']:.4f}, copy {epoch.val['copy']:.4f}"
        print(f"epoch {epoch.number}: {epoch.steps} steps, {rate:.1f} steps/s, {losses}", flush=True)
        if now - self._last > self._every:
            save_file(small(self._encoder.state_dict()), self._out / "checkpoints" / f"{epoch.steps:08d}.safetensors")
            self._last = now


def write_model(out: Path, method: Method, training: dict[str, Any], steps: int) -> None:
    """The model file, with half-precision weights."""
    shared, settings = training["pretrain"], training["method"]["fabnet"]
    description = Description(
        method="fabnet",
        settings=settings,
        size_px=shared["size_px"],
        dims=settings["embedding"],
        seed=SEED,
        steps=steps,
        trained_on=tuple(training["track_sets"]),
    )
    (out / "checkpoints" / f"{steps:08d}.safetensors").unlink(missing_ok=True)  # the model itself stands for this step
    model_file.write(out / model_file.NAME, description, method.half().cpu())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packed", type=Path, default=Path(".gpu"), help="folder that gpu_pack wrote")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the model")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=256, help="side of the input, px (default: 256)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4, help="of Adam (default: 0.0001)")
    parser.add_argument("--precision", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--fused", action="store_true", help="the optimiser moves all weights in one call")
    wanted = parser.parse_args()
    training = json.loads((wanted.packed / "training.json").read_text(encoding="utf-8"))
    shared = training["pretrain"] | {"size_px": wanted.size, "batch": wanted.batch}
    training["pretrain"] = shared
    started = time.monotonic()
    packed = unpack(wanted.packed / "tracks.npz")
    print(f"{len(packed.images)} frames decoded in {time.monotonic() - started:.1f} s")
    torch.manual_seed(SEED)
    method = fabnet.build(fabnet.Params(**training["method"]["fabnet"]), size_px=wanted.size)
    settings = Settings(
        "adam", wanted.lr, 0.9, 0.0, 10**6, plateau_factor=0.1, plateau_patience=40, precision=wanted.precision,
        fused=wanted.fused,
    )  # fmt: skip
    trainer = Trainer(method, settings, device=devices.device("auto"))
    results = Results(wanted.out, method.encoder, checkpoint_seconds=20 * wanted.minutes)
    train(packed, trainer, shared, 60 * wanted.minutes, results.add)
    write_model(wanted.out, method, training, trainer.steps)
    peak = torch.cuda.max_memory_allocated() / 2**30 if trainer.device.type == "cuda" else 0.0
    print(f"{trainer.steps} steps on {trainer.device}, peak memory {peak:.2f} GiB; {wanted.out}")


if __name__ == "__main__":
    main()
