"""Embeddings of the faces in one's own videos and images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.own.detection import Face
from pipelines.own.options import Flag, Options
from pipelines.own.tabulate import Table, tabulate

if TYPE_CHECKING:
    from fabnet.inference.network import Network


def embed(
    *files: Path,
    out: Path = Path("faces.parquet"),
    fps: float | None = None,
    one_face: Flag = False,
    options: Options | None = None,
) -> None:
    """Write one row for each face: source, frame, time, track, box, score and embedding.

    Args:
        files: Videos, images, folders of them, or lists (.txt, .csv) that name one file a line.
        out: The table: *.parquet, or *.csv. What cannot be used is listed in NAME.rejects.* beside it.
        fps: Frames of a video per second to use, above 0 and at most 1000; all, if not given.
        one_face: Keep one person of each video, the one who is there longest (a face counts half in a corner of the
            picture), never more than one face a frame; of an image the largest face. --largest may change to another
            person from frame to frame.
        options: How the network runs and faces are detected.
    """
    tabulate(TABLE, files, out=out, fps=fps, one_face=one_face, options=options or Options())


def columns(net: "Network") -> list[pa.Field]:
    """One column of fixed-size lists."""
    return [pa.field("embedding", pa.list_(pa.float32(), net.description.dims))]


def describe(net: "Network", faces: Sequence[Face]) -> Iterator[dict[str, Any] | str]:
    """The embedding of each face, or why it is a reject."""
    for vector in net.embed([face.crop for face in faces]):
        yield {"embedding": vector} if np.isfinite(vector).all() else "the embedding is not finite"


TABLE = Table("embed", columns, describe)
