"""Measure how faces sit in the crops: their size and their place, in training and in every evaluation set.

Reads: tracks and their splits, faces.
Writes: framing.parquet (tables.FRAMING), and a rejects table: sampled crops in which the detector finds no face.

Measured are the side of the detected box as a share of the crop's side, and where in the crop the box has its centre.
Crops of training are drawn as training draws them: an identity, one of its videos, tracks and frames, and a random
square. Crops of still images are drawn at random. The detector is that of `detect`; another one draws other boxes.

A detector looks for faces of certain sizes only; those of dlib are a factor of 1.2 apart. Each crop is therefore
searched at several sizes within that factor, and what is found is averaged. A black border lets the detector find a
face that reaches the edge of its crop.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fabnet.boxes import Box, PixelBox, choose_face
from fabnet.images import cut, resize
from fabnet.modules.frame_choice import Choice
from fabnet.training import pairs
from stages.faces import detection
from stages.faces.detection import Detector
from stages.runtime import command, outputs, progress, tables, workers
from stages.runtime.errors import Rejected
from stages.runtime.params import DetectParams, MeasureParams
from stages.storage import media
from stages.storage.shards import Shards
from stages.training.trackset import TrackSource

log = logging.getLogger(__name__)

SECTIONS = {"jitter_px": "pretrain.jitter_px", "oversample": "pretrain.oversample"}

TRACKS, STILLS = "face tracks", "still images"
ALL = "all"  # the row of all track data sets together, as training mixes them

SIDES_PX = (224, 238, 253)  # of the images that are searched: 224 times 1.2 to the power of 0, 1/3 and 2/3
BORDER_FRAC = 0.25  # of the side, on each side
APART = 0.15  # a larger difference from training is worth a warning

Row = dict[str, Any]


@dataclass(frozen=True)
class Crop:
    """A stored image, and the square of it that a network sees."""

    dataset: str
    sample_id: str
    jpeg: bytes
    seen_xyxy_px: PixelBox | None  # inside it; None: all of it


class Framing(NamedTuple):
    """The face's box in what a network sees; 0 to 1 is the side of that, from left to right and top to bottom."""

    face_frac: float  # side of the box
    x_frac: float  # its centre
    y_frac: float


def run(
    *,
    tracks: Path,
    faces: Path,
    splits: Path,
    out: Path,
    seed: int,
    track_sets: list[str],
    face_sets: list[str],
    jitter_px: Mapping[str, tuple[int, int]],
    oversample: Mapping[str, int],
    detect: DetectParams,
    measure: MeasureParams,
) -> None:
    """Write one row for each data set, and one for all track data sets together.

    Raises:
        UserError: a table or a shard is missing or damaged, or the detector lacks its weight file.
    """
    metadata = detection.configured(detect)
    sample = {"count": measure.crops, "seed": seed}
    trained = {name: _as_trained(tracks, splits, name, jitter_px[name], **sample) for name in track_sets}
    crops = {name: crops for name, (_, crops) in trained.items()}
    crops |= {name: _stills(faces / name, name, **sample) for name in face_sets}
    rejects = tables.Rejects("measure")
    found = _search(crops, detect, rejects)
    draws = {name: count * oversample.get(name, 1) for name, (count, _) in trained.items()}
    mixture = _mixture(draws, found, measure.crops)
    groups = {
        **{(TRACKS, name): found[name] for name in sorted(track_sets)},
        (TRACKS, ALL): mixture,
        **{(STILLS, name): found[name] for name in sorted(face_sets)},
    }
    rows = [_row(kind, name, framings, mixture) for (kind, name), framings in groups.items()]
    with outputs.replaced(out) as whole:
        tables.write(whole / "framing.parquet", tables.FRAMING, rows, key=["kind", "dataset"], metadata=metadata)
        rejects.write(whole / "rejects.parquet")
    for row in rows:
        log.info("measure %s", _told(row))


def _as_trained(
    tracks: Path, splits: Path, name: str, jitter_px: tuple[int, int], *, count: int, seed: int
) -> tuple[int, list[Crop]]:
    """How many identities of a data set train, and crops of their tracks as training draws them."""
    source = TrackSource(tracks, splits, [name], {name: jitter_px}).load(1, "measure", needed=())
    identities = source.tracks.get("train")
    if identities is None:
        return 0, []
    drawn = pairs.draw(
        identities,
        source.sizes,
        source.jitter_px,
        choice=Choice(1),
        draws_per_identity=-(-count // len(identities)),
        rng=np.random.default_rng(seed),
    )
    ids = tables.read(tracks / name / "index.parquet", tables.columns(tables.TRACK_FRAMES, ["sample_id"]))["sample_id"]
    squares = drawn.boxes_xyxy_px[:count, 0].astype(int).tolist()
    return len(identities), [
        Crop(name, ids[row].as_py(), source.read(row), (x0, y0, x1, y1))
        for row, (x0, y0, x1, y1) in zip(drawn.frames[:count, 0].tolist(), squares, strict=True)
    ]


def _stills(folder: Path, name: str, *, count: int, seed: int) -> list[Crop]:
    """Random crops of a data set of still images."""
    index = tables.read(folder / "index.parquet", tables.FACES)
    picked = np.random.default_rng(seed).choice(len(index), min(count, len(index)), replace=False)
    with Shards(folder) as shards:
        return [
            Crop(name, row["sample_id"], shards.read(row["shard"], row["offset"], row["size"], row["sha256"]), None)
            for row in index.take(np.sort(picked)).to_pylist()
        ]


def _search(
    crops: Mapping[str, Sequence[Crop]], detect: DetectParams, rejects: tables.Rejects
) -> dict[str, list[Framing | None]]:
    """The face in each crop, None where there is none; crops of other data sets are searched in other processes."""
    every = [crop for of_set in crops.values() for crop in of_set]
    searched = workers.in_order(partial(framing, detect=detect), every, workers.available())
    found: dict[str, list[Framing | None]] = {name: [] for name in crops}
    for crop, result in zip(every, progress.track(searched, len(every), "measure", "crops"), strict=True):
        if isinstance(result, Rejected):
            rejects.add(crop.dataset, crop.sample_id, result.kind, result.detail)
        found[crop.dataset].append(None if isinstance(result, Rejected) else result)
    return found


def framing(crop: Crop, *, detect: DetectParams) -> Framing | Rejected:
    """Where the face lies in the crop, or why it is not known."""
    try:
        image = media.decode_image(crop.jpeg)
    except Rejected as error:
        return error
    detector = detection.detector(detect.detector, detect.weights, detect.min_score)
    boxes = [box for side_px in SIDES_PX if (box := _box(image, side_px, detector)) is not None]
    if not boxes:
        return Rejected("no face detected", f"at any of {len(SIDES_PX)} sizes")
    height, width = image.shape[:2]
    x0, y0, x1, y1 = crop.seen_xyxy_px or (0, 0, width, height)
    edges = np.asarray(boxes) * (width, height, width, height)
    sides = np.maximum(edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1])
    left, top, right, bottom = edges.mean(axis=0)
    return Framing(
        float(np.exp(np.log(sides).mean()) / (x1 - x0)),
        ((left + right) / 2 - x0) / (x1 - x0),
        ((top + bottom) / 2 - y0) / (y1 - y0),
    )


def _box(image: media.Image, side_px: int, detector: Detector) -> Box | None:
    """The face that fills most of the image, which is searched at that side; 0 to 1 is the image's side."""
    border_px = round(BORDER_FRAC * side_px)
    far = side_px + border_px
    found = detector(cut(resize(image, side_px, side_px), (-border_px, -border_px, far, far)), 0)
    boxes = [(x0 - border_px, y0 - border_px, x1 - border_px, y1 - border_px) for x0, y0, x1, y1 in found.boxes]
    face = choose_face(boxes, found.scores, (0, 0, side_px, side_px))
    if face is None:
        return None
    x0, y0, x1, y1 = boxes[face]
    return x0 / side_px, y0 / side_px, x1 / side_px, y1 / side_px


def _mixture(
    draws: Mapping[str, int], found: Mapping[str, Sequence[Framing | None]], count: int
) -> list[Framing | None]:
    """Crops of all track data sets as training mixes them: a data set counts by the draws from it in an epoch."""
    whole = sum(draws.values())
    shares = {name: round(count * of_set / whole) for name, of_set in draws.items() if of_set}
    return [face for name, share in shares.items() for face in found[name][:share]]


def _row(kind: str, dataset: str, found: Sequence[Framing | None], trained: Sequence[Framing | None]) -> Row:
    """A row of FRAMING."""
    faces = [face for face in found if face is not None]
    row: Row = {"kind": kind, "dataset": dataset, "n": len(faces), "missed": len(found) - len(faces)}
    for name, values in zip(Framing._fields, np.array(faces, float).reshape(-1, 3).T, strict=True):
        low, middle, high = np.percentile(values, [25, 50, 75]).tolist() if faces else (None, None, None)
        row |= {name: middle, f"{name}_q1": low, f"{name}_q3": high}
    reference = [face.face_frac for face in trained if face is not None]
    if faces and reference:
        row["difference"] = row["face_frac"] / float(np.median(reference)) - 1
    row["is_apart"] = kind == STILLS and abs(row.get("difference", 0.0)) > APART
    return row


def _told(row: Row) -> str:
    """A row in words."""
    name = f"{row['kind']} {row['dataset']}"
    if not row["n"]:
        return f"{name}: no face found in {row['missed']} crops"
    told = (
        f"{name}: face {row['face_frac']:.2f} of the crop's side [{row['face_frac_q1']:.2f}, {row['face_frac_q3']:.2f}]"
    )
    told += f", centre {row['x_frac']:.2f}, {row['y_frac']:.2f}; {row['n']} faces, {row['missed']} without one"
    if row["is_apart"]:
        told += f"; {row['difference']:+.0%} against training: give it another margin, see the report"
    return told


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
