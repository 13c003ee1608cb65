"""What `benchmarks/gpu_pack.py` packed, read where only PyTorch, NumPy and Pillow are."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.rows import cores
from fabnet.modules.frame_choice import Choice
from fabnet.training import pairs

TRACKS, FACES, TRAINING = "tracks.npz", "faces.npz", "training.json"
SPLITS = ("train", "val")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """JPEGs one after another."""

    jpeg: NDArray[np.uint8]
    ends: NDArray[np.int64]  # where each ends

    def __len__(self) -> int:
        return len(self.ends)

    def file(self, row: int) -> bytes:
        """One JPEG."""
        return self.jpeg[self.ends[row - 1] if row else 0 : self.ends[row]].tobytes()

    def image(self, row: int) -> Pixels:
        """RGB (H, W, 3)."""
        with Image.open(io.BytesIO(self.file(row))) as image:
            return np.array(image.convert("RGB"))

    def images(self) -> list[Pixels]:
        """All, decoded by all cores."""
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(self.image, range(len(self))))


@dataclass(frozen=True)
class Frames:
    """Frames of face tracks."""

    pictures: Pictures
    tracks: dict[str, pairs.Tracks]  # by split
    sizes: NDArray[np.int64]
    jitter_px: NDArray[np.int64]
    times: NDArray[np.int64]  # how often each identity of the training split is drawn (`pretrain.oversample`)

    def draw(self, split: str, draws: int | NDArray[np.int64], *random_state: int) -> pairs.Draw:
        """An epoch of samples of two frames, with `draws` of each identity."""
        return pairs.draw(
            self.tracks[split],
            self.sizes,
            self.jitter_px,
            choice=Choice(2),
            draws_per_identity=draws,
            rng=np.random.default_rng(random_state),
        )


@dataclass(frozen=True)
class Faces:
    """Crops that are embedded, in order of data set and name."""

    pictures: Pictures
    datasets: NDArray[np.str_]
    ids: NDArray[np.str_]


def frames(folder: Path) -> Frames:
    """The frames of face tracks in a folder."""
    with np.load(folder / TRACKS) as packed:
        columns = [field.name for field in fields(pairs.Tracks)]
        tracks = {split: pairs.Tracks(*(packed[f"{split}_{name}"] for name in columns)) for split in SPLITS}
        pictures = Pictures(packed["jpeg"], packed["ends"])
        return Frames(pictures, tracks, packed["sizes"], packed["jitter_px"], packed["times"])


def faces(folder: Path) -> Faces:
    """The crops of faces in a folder."""
    with np.load(folder / FACES) as packed:
        return Faces(Pictures(packed["jpeg"], packed["ends"]), packed["datasets"], packed["ids"])


def training(folder: Path) -> dict[str, Any]:
    """How to train, and the commit; a folder without them ends the program with what to do."""
    path = folder / TRAINING
    if not path.exists():
        sys.exit(f"{path} is missing: run `python -m benchmarks.gpu_pack --out {folder}` where the data are")
    return json.loads(path.read_text(encoding="utf-8"))


def commit(folder: Path) -> str:
    """The commit that the folder was packed from; empty if there is none."""
    path = folder / TRAINING
    return json.loads(path.read_text(encoding="utf-8"))["commit"] if path.exists() else ""
