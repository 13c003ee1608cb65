"""Tiny packed face tracks with their splits, as `pretrain` reads them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.runtime import tables
from stages.runtime.params import PretrainParams
from stages.storage import media, shards

SPLITS = {"id1": "train", "id2": "train", "id3": "train", "id4": "val", "id5": "val", "id6": "test"}
SIDE_PX = 48
PARAMS: dict[str, Any] = {
    "size_px": 32, "batch": 4, "optimiser": "adam", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0, "epochs": 3,
    "draws_per_identity": 4, "plateau_factor": 0.1, "plateau_patience": 2,
    "schedule": "plateau", "lr_floor": 0.0, "lr_hold": 0.0, "checkpoint_epochs": 2, "val_samples": 4,
    "jitter_px": {"voxceleb1": (36, 40), "voxceleb2": (32, 34)}, "device": "cpu",
    "precision": "float32", "fused": False, "compile": "none",
    "jpeg_decoder": "opencv",
}  # fmt: skip
METHOD_PARAMS = {"width": 4, "embedding": 6}


def params(**changes: Any) -> PretrainParams:
    return PretrainParams(**{**PARAMS, **changes})


def frame_image(track: str, frame: int) -> np.ndarray:
    """(SIDE_PX, SIDE_PX, 3) RGB: a smooth image of the track that moves by a pixel per frame."""
    coarse = np.random.default_rng(sum(track.encode())).integers(0, 256, (6, 6, 3), np.uint8)
    return np.roll(cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC), frame, axis=1)


def write_tracks(root: Path, dataset: str = "voxceleb1", *, frames: int = 4, short: str | None = None) -> None:
    """Two tracks of `frames` frames for every identity; the first track of identity `short` has one frame."""
    index: list[dict[str, Any]] = []
    for person, identity in enumerate(SPLITS):
        shard = root / "tracks" / dataset / shards.shard_name(person)
        with shards.ShardWriter(shard) as writer:
            for number in (1, 2):
                track = f"{identity}/v{number}/00001"
                for frame in range(1 if short == identity and number == 1 else frames):
                    index.append({**_packed(writer, track, frame * 5), "shard": shard.name})
    tables.write(root / "tracks" / dataset / "index.parquet", tables.TRACK_FRAMES, index, key=["sample_id"])
    write_splits(root, dataset, index)


def write_many_tracks(root: Path, dataset: str = "voxceleb1", *, tracks: int = 3000) -> None:
    """An index of tracks of 2 to 8 frames without pixels, and its splits."""
    index: list[dict[str, Any]] = []
    place = {"shard": "00000.tar", "offset": 0, "size": 0, "sha256": "", "width_px": SIDE_PX, "height_px": SIDE_PX}
    for number in range(tracks):
        identity, video = f"id{number % len(SPLITS) + 1}", f"v{number}"
        track = f"{identity}/{video}/00001"
        names = {"identity_id": identity, "video_id": video, "track_id": track}
        index += [{"sample_id": f"{track}/{k:06d}", **names, "frame": k, **place} for k in range(2 + number % 7)]
    tables.write(root / "tracks" / dataset / "index.parquet", tables.TRACK_FRAMES, index, key=["sample_id"])
    write_splits(root, dataset, index)


def write_splits(root: Path, dataset: str, index: list[dict[str, Any]]) -> None:
    rows = [
        {"sample_id": row["sample_id"], "group_id": row["identity_id"], "split": SPLITS[row["identity_id"]]}
        for row in index
    ]
    tables.write(root / "splits" / f"{dataset}.parquet", tables.SPLITS, rows, key=["sample_id"])


def _packed(writer: shards.ShardWriter, track: str, frame: int) -> dict[str, Any]:
    data = media.encode_jpeg(frame_image(track, frame), 95)
    offset = writer.add(f"{track}/{frame:06d}.jpg", data)
    identity, video, _ = track.split("/")
    return {
        "sample_id": f"{track}/{frame:06d}", "identity_id": identity, "video_id": video, "track_id": track,
        "frame": frame, "offset": offset, "size": len(data), "sha256": "", "width_px": SIDE_PX, "height_px": SIDE_PX,
    }  # fmt: skip
