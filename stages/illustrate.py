"""Draw figures of what the networks do on the test split: warped frames, confidence maps, nearest neighbours.

Reads: tracks, faces, splits, models and embeddings of the first seed.
Writes: images/{warp,confidence,neighbours}.png, each if its methods are configured, and a rejects table.

Samples are drawn at random with the seed of `illustrate`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabnet import retrieval
from fabnet.modules import crops
from fabnet.modules.frame_choice import Choice
from fabnet.modules.model import FAbNet, Mix
from fabnet.training import pairs
from stages.reporting import figures
from stages.runtime import command, embedding_tables, outputs, tables
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import IllustrateParams
from stages.storage import media
from stages.storage.shards import Shards
from stages.training import models
from stages.training.trackset import TrackSet, TrackSource

log = logging.getLogger(__name__)

SECTIONS = {"jitter_px": "pretrain.jitter_px"}

ONE_SOURCE, SEVERAL_SOURCES = "fabnet", "fabnet_sources"
COMPARED = ("fabnet", "random")  # whose neighbours are shown


def run(
    *,
    tracks: Path,
    faces: Path,
    splits: Path,
    models: Path,
    embeddings: Path,
    out: Path,
    seeds: list[int],
    methods: list[str],
    track_sets: list[str],
    face_sets: list[str],
    jitter_px: Mapping[str, tuple[int, int]],
    illustrate: IllustrateParams,
) -> None:
    """Write the figures of the configured methods.

    Raises:
        UserError: a model or a table is missing or damaged.
    """
    source = TrackSource(tracks, splits / "tracks", track_sets, jitter_px)
    rejects = tables.Rejects("illustrate")
    drawn: dict[str, bytes] = {}
    for name, method, draw in (
        ("warp.png", ONE_SOURCE, _draw_warp),
        ("confidence.png", SEVERAL_SOURCES, _draw_confidence),
    ):
        if method in methods:
            rebuilt = _rebuild(models / f"{method}-{seeds[0]}", source, illustrate, rejects, name)
            if rebuilt is not None:
                drawn[name] = draw(*rebuilt)
    compared = {method: embeddings / f"{method}-{seeds[0]}" for method in COMPARED if method in methods}
    if compared:
        gallery = sorted(face_sets)[0]
        rows = _neighbours(faces / gallery, splits / "faces" / f"{gallery}.parquet", compared, illustrate, rejects)
        if rows:
            drawn["neighbours.png"] = figures.neighbours(rows)
    _write(out, drawn, rejects)


def _write(out: Path, drawn: Mapping[str, bytes], rejects: tables.Rejects) -> None:
    with outputs.replaced(out) as whole:
        (whole / "images").mkdir()
        for name in ("warp.png", "confidence.png", "neighbours.png"):
            if name in drawn:
                (whole / "images" / name).write_bytes(drawn[name])
            else:
                log.info("illustrate: no %s, see `methods` and the rejects table", name)
        rejects.write(whole / "rejects.parquet")
    log.info("illustrate: %d figures, %d rejects", len(drawn), len(rejects))


def _rebuild(
    model: Path, source: TrackSource, params: IllustrateParams, rejects: tables.Rejects, figure: str
) -> tuple[Tensor, Mix] | None:
    """Frames (R, F, 3, S, S) of test tracks, target first, and their reconstruction; None without tracks."""
    method, description = models.load(model)
    network = cast(FAbNet, method.get_submodule("net"))
    frames = source.load(method.frames, "illustrate", needed=())
    test = frames.tracks.get("test")
    for dataset in sorted(set(source.track_sets) - frames.datasets("test")):
        rejects.add(dataset, figure, "too few tracks", f"the test split has none of {method.frames} frames or more")
    if test is None:
        return None
    samples = _samples(frames, test, method.frames, description.size_px, params)
    with torch.inference_mode():
        return samples, network.mix(samples[:, 1:], samples[:, 0])


def _samples(frames: TrackSet, tracks: pairs.Tracks, count: int, size_px: int, params: IllustrateParams) -> Tensor:
    """Random frames (R, F, 3, S, S) of random tracks, central square; identities repeat if there are few."""
    drawn = pairs.draw(
        tracks,
        frames.sizes,
        frames.jitter_px,
        choice=Choice(count),
        draws_per_identity=-(-params.rows // len(tracks)),
        rng=np.random.default_rng(params.seed),
    )
    rows = drawn.frames[: params.rows].ravel()
    boxes = crops.central_squares(frames.sizes[rows], frames.jitter_px[rows])
    images = pairs.stack([frames.image(int(row)) for row in rows])
    return crops.crop_and_resize(images, torch.from_numpy(boxes), size_px).unflatten(0, (-1, count))


def _draw_warp(frames: Tensor, mix: Mix) -> bytes:
    target, source = (_channels_last(frames[:, index]) for index in (0, 1))
    result = _channels_last(mix.result)
    flow = mix.flow[:, 0].permute(0, 2, 3, 1).numpy() / 2  # normalised units: 2 is the frame's side
    return figures.warp([figures.Warped(*row) for row in zip(source, target, result, flow, strict=True)])


def _draw_confidence(frames: Tensor, mix: Mix) -> bytes:
    target, result, weight = _channels_last(frames[:, 0]), _channels_last(mix.result), mix.weight[:, :, 0].numpy()
    sources = [_channels_last(images) for images in frames[:, 1:]]  # by row: (S, H, W, 3)
    rows = [figures.Mixed(list(images), list(weights), *rest)
            for images, weights, *rest in zip(sources, weight, target, result, strict=True)]  # fmt: skip
    return figures.confidence(rows)


def _channels_last(images: Tensor) -> NDArray[np.float32]:
    """(N, 3, H, W) -> (N, H, W, 3)."""
    return images.permute(0, 2, 3, 1).numpy().clip(0, 1)


def _neighbours(
    faces: Path, splits: Path, folders: Mapping[str, Path], params: IllustrateParams, rejects: tables.Rejects
) -> list[figures.Retrieved]:
    """Random images of the test split, and their nearest neighbours in the same split for each method."""
    dataset = faces.name
    assigned = tables.read(splits, tables.SPLITS)
    vectors = {method: _embeddings(folder / f"{dataset}.parquet") for method, folder in folders.items()}
    in_test = set(assigned.filter(pc.field("split") == "test")["sample_id"].to_pylist())
    ids = sorted(in_test.intersection(*vectors.values()))
    if len(ids) <= params.neighbours:
        detail = f"the test split has {len(ids)} for {params.neighbours} neighbours and the query"
        rejects.add(dataset, "neighbours.png", "too few images", detail)
        return []
    queries = np.random.default_rng(params.seed).choice(len(ids), min(params.rows, len(ids)), replace=False)
    similar = {method: cosines(np.stack([of_id[name] for name in ids]), queries) for method, of_id in vectors.items()}
    index = tables.read(faces / "index.parquet", tables.FACES)
    row_of = {row["sample_id"]: row for row in index.filter(pc.field("sample_id").isin(ids)).to_pylist()}
    with Shards(faces) as shards:
        images = _Images(shards, [row_of[name] for name in ids])
        return [
            figures.Retrieved(
                images[query],
                {method: list(_nearest(rows[index], query, images, params)) for method, rows in similar.items()},
            )
            for index, query in enumerate(map(int, queries))
        ]


def _embeddings(path: Path) -> dict[str, Any]:
    table = embedding_tables.read(path)
    return dict(zip(table["sample_id"].to_pylist(), table["embedding"].to_pylist(), strict=True))


def cosines(vectors: NDArray[np.floating[Any]], queries: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cosine similarity (Q, N) of the vectors (N, D) at `queries` (Q,) to all, relative to their mean."""
    x = torch.from_numpy(vectors.astype(np.float64))
    return torch.cat([rows for _, rows in retrieval.similarities(x[queries], x, x.mean(0))]).numpy()


def _nearest(
    similarity: NDArray[np.float64], query: int, images: "_Images", params: IllustrateParams
) -> Iterator[tuple[NDArray[np.float32], float]]:
    """The images of highest similarity (N,) to the query, without the query itself; ties by index."""
    order = [int(index) for index in np.argsort(-similarity, kind="stable") if index != query]
    for index in order[: params.neighbours]:
        yield images[index], float(similarity[index])


@dataclass(frozen=True)
class _Images:
    """Images of packed faces by their index in `rows`."""

    shards: Shards
    rows: Sequence[Mapping[str, Any]]

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """(H, W, 3) in [0, 1].

        Raises:
            UserError: the image cannot be decoded, though it was embedded.
        """
        row = self.rows[index]
        try:
            image = media.decode_image(self.shards.read(row["shard"], row["offset"], row["size"], row["sha256"]))
        except Rejected as error:
            raise UserError(f"face {row['sample_id']} in {row['shard']}: {error}; run `dvc repro --force`") from None
        return image.astype(np.float32) / np.float32(255)


if __name__ == "__main__":
    command.main(run, __doc__, SECTIONS)
