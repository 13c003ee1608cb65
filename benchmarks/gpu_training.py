"""A real training of `fabnet` for some minutes on frames that `benchmarks/gpu_pack.py` packed, and its embeddings.

Needs PyTorch, Pillow, NumPy and safetensors alone:

    PYTHONPATH=. python benchmarks/gpu_training.py --packed .gpu --out results --minutes 4

Writes fabnet-0 (a model folder with a history in place of the stage's table; weights are float16 to keep it small),
embeddings.npz (of the packed faces by each of its encoders, and by the untrained one of `random`) and rows.jsonl.
`benchmarks/gpu_results.py` makes the tables of the stages from them.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks import gpu_steps, packed, parts, rows
from benchmarks.packed import Frames, Pixels
from benchmarks.rows import Row
from fabnet.modules import crops, devices, model_file
from fabnet.modules.method import Method
from fabnet.modules.model_file import Description
from fabnet.pretext import fabnet, random
from fabnet.training import pairs
from fabnet.training.train import Epoch, Settings, Trainer

SEED = 0
DRAWS = 64  # samples that an epoch draws from each identity: epochs of seconds, as the clock is read after each
CHECKPOINTS = 3  # besides the model itself
BATCH = 256  # of faces


@dataclass(frozen=True)
class Batches:
    """The samples of an epoch, as in the stage `pretrain`, from frames that are decoded already."""

    frames: Frames
    images: list[Pixels]
    batch: int
    size_px: int
    device: torch.device

    def draw(self, split: str, draws: int | NDArray[np.int64], *random_state: int) -> Iterator[Tensor]:
        """Batches (B, 2, 3, S, S) in [0, 1]."""
        return pairs.batches(
            self.frames.draw(split, draws, *random_state),
            self.images.__getitem__,
            batch=self.batch,
            size_px=self.size_px,
            device=self.device,
            workers=rows.cores(),
        )


def train(trainer: Trainer, batches: Batches, val_samples: int, seconds: float, after: Callable[[Epoch], None]) -> None:
    """Train for about so many seconds: until the first epoch that ends later. `after` is called with each epoch."""
    draws = -(-val_samples // len(batches.frames.tracks["val"]))
    validation = list(batches.draw("val", draws, 0))
    many = DRAWS * batches.frames.times
    end = time.monotonic() + seconds
    for epoch in trainer.epochs(lambda n, _: batches.draw("train", many, SEED, n), lambda: validation, lambda: None):
        after(epoch)
        if time.monotonic() > end:
            return


def small(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as float16; counters stay whole numbers."""
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    return {name: value.detach().cpu().contiguous() for name, value in halved.items()}


class Results:
    """What a training leaves in its folder."""

    def __init__(self, out: Path, encoder: nn.Module, checkpoint_s: float) -> None:
        (out / "checkpoints").mkdir(parents=True)
        self._out, self._encoder, self._every = out, encoder, checkpoint_s
        self._start = self._last = time.monotonic()
        self._last_epoch: Epoch | None = None

    def add(self, epoch: Epoch) -> None:
        """A line of the history, and a checkpoint of the encoder when it is time."""
        self._last_epoch = epoch
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
        losses = f"loss train {epoch.train['loss']:.4f}, val {epoch.val['loss']:.4f}, copy {epoch.val['copy']:.4f}"
        print(f"epoch {epoch.number}: {epoch.steps} steps, {self.steps_per_s:.1f} steps/s, {losses}", flush=True)
        if now - self._last > self._every:
            save_file(small(self._encoder.state_dict()), self._out / "checkpoints" / f"{epoch.steps:08d}.safetensors")
            self._last = now

    @property
    def steps_per_s(self) -> float:
        """Since the start, validation included."""
        return self._last_epoch.steps / (time.monotonic() - self._start) if self._last_epoch else 0.0

    def rows(self, what: str, device: torch.device) -> Iterator[Row]:
        """The rate, and how much better than no warp the network has become."""
        peak_gb = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
        yield Row("gpu_training", f"{what}: a whole training", "steps/s", "", self.steps_per_s, peak_gb=peak_gb)
        if last := self._last_epoch:
            what = f"{what}: L1 distance on validation after {last.steps} steps"
            yield Row("gpu_training", what, "", "that without a warp", last.val["loss"], last.val["copy"])


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


def embeddings(
    out: Path, method: Method, training: dict[str, Any], faces: list[Pixels], device: torch.device
) -> dict[str, NDArray[Any]]:
    """(N, D) of each encoder, by model folder and steps; those of `random` differ by less than float16 can tell."""
    size_px = training["pretrain"]["size_px"]
    torch.manual_seed(SEED)  # as the stage `pretrain` does
    untrained = random.build(random.Params(**training["method"]["random"]), size_px=size_px).encoder
    found = {f"random-{SEED}/{0:08d}": embed(untrained, faces, size_px, device)}
    encoder = method.encoder
    for path in sorted((out / "checkpoints").glob("*.safetensors")):
        kept = {name: value.clone() for name, value in encoder.state_dict().items()}
        encoder.load_state_dict(load_file(path))
        found[f"{out.name}/{path.stem}"] = embed(encoder, faces, size_px, device).astype(np.float16)
        encoder.load_state_dict(kept)
    steps = model_file.read(out / model_file.NAME)[0].steps
    found[f"{out.name}/{steps:08d}"] = embed(encoder, faces, size_px, device).astype(np.float16)
    return found


def embed(encoder: nn.Module, faces: list[Pixels], size_px: int, device: torch.device) -> NDArray[np.float32]:
    """(N, D), as the stage `embed` makes them."""
    encoder.to(device).float().eval()
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode(), devices.without_tf32():
        for start in range(0, len(faces), BATCH):
            images = [torch.from_numpy(face).to(device)[None] for face in faces[start : start + BATCH]]
            inputs = torch.cat([crops.resize(image, size_px) for image in images])
            found.append(encoder(inputs).flatten(1).cpu().numpy())
    return np.concatenate(found)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parts.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=256, help="side of the input, px (default: 256)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4, help="of Adam (default: 0.0001)")
    parser.add_argument("--precision", default="bfloat16", choices=gpu_steps.PRECISIONS)
    return parser.parse_args(arguments)


def measure(wanted: argparse.Namespace, device: torch.device) -> Iterator[Row]:
    """Train, write the model and its embeddings, and yield rows of the training as a whole."""
    training = packed.training(wanted.packed)
    training["pretrain"] |= {"size_px": wanted.size, "batch": wanted.batch}
    started = time.monotonic()
    frames, faces = packed.frames(wanted.packed), packed.faces(wanted.packed)
    images, cut_faces = frames.pictures.images(), faces.pictures.images()
    print(f"{len(images)} frames and {len(cut_faces)} faces decoded in {time.monotonic() - started:.1f} s", flush=True)
    torch.manual_seed(SEED)
    method = fabnet.build(fabnet.Params(**training["method"]["fabnet"]), size_px=wanted.size)
    settings = Settings(
        "adam", wanted.lr, 0.9, 0.0, 10**6, plateau_factor=0.1, plateau_patience=40,
        precision=wanted.precision, fused=True,
    )  # fmt: skip
    trainer = Trainer(method, settings, device=device)
    out = wanted.out / f"fabnet-{SEED}"
    results = Results(out, method.encoder, checkpoint_s=60 * wanted.minutes / (CHECKPOINTS + 1))
    batches = Batches(frames, images, wanted.batch, wanted.size, device)
    train(trainer, batches, training["pretrain"]["val_samples"], 60 * wanted.minutes, results.add)
    yield from results.rows(f"{wanted.size} px, batch {wanted.batch}, {wanted.precision}", device)
    write_model(out, method, training, trainer.steps)
    of_encoders = embeddings(out, method, training, cut_faces, device)
    np.savez_compressed(wanted.out / "embeddings.npz", datasets=faces.datasets, ids=faces.ids, **of_encoders)


if __name__ == "__main__":
    parts.run(parsed(), measure)
