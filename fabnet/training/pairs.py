"""Samples of source and target frames of one face track, drawn per identity."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet.modules.crops import crop_and_resize, draw_squares
from fabnet.modules.frame_choice import Choice
from fabnet.training import cuts

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tracks:
    """Face tracks by identity and video, in columns; the frames of a track are consecutive rows of the frame table.

    Video v has the tracks `videos[v]` to `videos[v + 1]`, identity i the videos `identities[i]` to `identities[i + 1]`.
    """

    first: Ints  # (T,) row number of a track's first frame
    lengths: Ints  # (T,) frames
    videos: Ints  # (V + 1,) see above
    identities: Ints  # (I + 1,)

    @classmethod
    def of(cls, identities: NDArray[Any], videos: NDArray[Any], first: Ints, lengths: Ints) -> "Tracks":
        """Tracks (T,) in any order; `identities` and `videos` are names or numbers by which they are told apart."""
        order = np.lexsort((first, videos, identities))
        identities, videos = identities[order], videos[order]
        new_identity = _changes(identities)
        starts = np.flatnonzero(new_identity | _changes(videos))
        return cls(
            first[order],
            lengths[order],
            np.append(starts, len(order)),
            np.append(np.flatnonzero(new_identity[starts]), len(starts)),
        )

    def __len__(self) -> int:
        """Number of identities."""
        return len(self.identities) - 1


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """(T,) whether a value differs from the one before."""
    return np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1])


@dataclass(frozen=True)
class Draw:
    """Samples in the order of an epoch."""

    frames: NDArray[np.int64]  # (N, F) row numbers, target first
    boxes_xyxy_px: NDArray[np.float32]  # (N, F, 4) random square crop of every frame
    identities: NDArray[np.int64]  # (N,) number of each sample's identity in `Tracks`

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.frames)

    def __getitem__(self, samples: slice) -> "Draw":
        """Some of the samples: `drawn[done * batch :]` is what follows the first `done` batches."""
        return Draw(self.frames[samples], self.boxes_xyxy_px[samples], self.identities[samples])


def draw(
    tracks: Tracks,
    sizes: NDArray[np.integer[Any]],
    jitter_px: NDArray[np.integer[Any]],
    *,
    choice: Choice,
    draws_per_identity: int | Ints,
    rng: np.random.Generator,
) -> Draw:
    """One epoch: for every identity `draws_per_identity` random tracks of random videos, with distinct frames of each.

    Args:
        tracks: every track must have at least `choice.shortest` frames.
        sizes: (rows, 2) width and height of every frame, px.
        jitter_px: (rows, 2) range of the crop side of every frame, px.
        choice: how many frames a sample has, and how they are chosen from its track.
        draws_per_identity: 1 in the original; for all, or (I,) for each identity.
        rng: source of all choices.

    Departures from the original: frames are never drawn with replacement (tracks that are too short are rejected
    before), and the last identity is not left out.
    """
    identity = rng.permutation(np.repeat(np.arange(len(tracks)), draws_per_identity))  # (N,)
    video = rng.integers(tracks.identities[identity], tracks.identities[identity + 1])
    track = rng.integers(tracks.videos[video], tracks.videos[video + 1])
    rows = tracks.first[track, None] + choice.places(tracks.lengths[track], rng)  # (N, F)
    boxes = draw_squares(sizes[rows.ravel()], jitter_px[rows.ravel()], rng)
    return Draw(rows, boxes.reshape(*rows.shape, 4), identity)


def batches(
    drawn: Draw,
    load: Callable[[int], Any],
    *,
    batch: int,
    size_px: int,
    device: torch.device,
    workers: int,
    share: tuple[int, int] = (0, 1),
    decode: Callable[[list[Any]], Sequence[Tensor]] | None = None,
) -> Iterator[Tensor]:
    """Batches (B, F, 3, size_px, size_px) in [0, 1] on `device`; an incomplete last batch is left out.

    Args:
        drawn: an epoch of samples.
        load: row number -> RGB frame (H, W, 3) uint8, or what `decode` takes; called from several threads.
        batch: samples per batch B.
        size_px: side of the network's input.
        device: where the squares are scaled.
        workers: loading threads, at least 1; the batches are the same for any number.
        share: number of this process and how many there are: each gets the samples of every batch that are its turn,
            B / processes that follow each other.
        decode: what was loaded for a batch -> RGB frames (H, W, 3) uint8 on `device`, all at once. Without it only
            the squares go to the device.

    Raises:
        ValueError: a batch cannot be shared equally.
    """
    rows = wanted(drawn, batch, share)
    side_px = int((drawn.boxes_xyxy_px[..., 2] - drawn.boxes_xyxy_px[..., 0]).max(initial=0))
    on_gpu = device.type == "cuda"
    if decode is None:
        loaded = cuts.loaded(rows, load, side_px=side_px, workers=workers, pinned=on_gpu)
    else:
        loaded = cuts.decoded(rows, load, decode, side_px=side_px, workers=workers, device=device)
    for pixels, squares in loaded:
        there, within = (each.to(device, non_blocking=on_gpu) for each in (pixels, squares))
        yield crop_and_resize(there, within, size_px).unflatten(0, (-1, drawn.frames.shape[1]))


def wanted(drawn: Draw, batch: int, share: tuple[int, int] = (0, 1)) -> cuts.Wanted:
    """Rows and squares of the frames of each batch, arguments as for `batches`."""
    turns = _turns(drawn, batch, share)
    return [(turn.frames.ravel(), turn.boxes_xyxy_px.reshape(-1, 4)) for turn in turns]


def identities(drawn: Draw, *, batch: int, device: torch.device, share: tuple[int, int] = (0, 1)) -> Iterator[Tensor]:
    """Numbers (B,) int64 of the identities in each batch of `batches`, with the same arguments."""
    for turn in _turns(drawn, batch, share):
        yield torch.from_numpy(turn.identities).to(device)


def _turns(drawn: Draw, batch: int, share: tuple[int, int]) -> list[Draw]:
    """The samples of each batch that are this process's."""
    number, processes = share
    if batch % processes:
        raise ValueError(f"a batch of {batch} cannot be shared equally by {processes} processes")
    part = batch // processes
    starts = range(0, len(drawn) - batch + 1, batch)
    return [drawn[start + number * part : start + (number + 1) * part] for start in starts]


def stack(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Images (h, w, 3) of different sizes -> (N, H, W, 3) uint8, each at the top left, zeros beyond it."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    canvas = np.zeros((len(images), height, width, 3), np.uint8)
    for slot, image in zip(canvas, images, strict=True):
        slot[: image.shape[0], : image.shape[1]] = image
    return torch.from_numpy(canvas)
