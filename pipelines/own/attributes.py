"""Attributes of the faces in one's own videos and images, by the fitted probes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.own.detection import Face
from pipelines.own.options import Flag, Options
from pipelines.own.tabulate import Table, tabulate
from stages.runtime import csv_tables
from stages.runtime.errors import UserError

if TYPE_CHECKING:
    from fabnet.inference.network import Network

Values = Mapping[str, np.ndarray]  # attribute -> (N, K), or points (N, P, 2)


def attributes(
    *files: Path,
    out: Path = Path("attributes.parquet"),
    fps: float | None = None,
    one_face: Flag = False,
    options: Options | None = None,
) -> None:
    """Write one row for each face: source, frame, time, track, box, score, landmarks, pose, expression, action units.

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
    """Points as one column of fixed-size lists x0, y0, x1, y1 ...; all else as a column `<attribute>_<name>` each.

    Points are px of the upright frame, pixel centres; pose in degrees; classes and action units in (0, 1).
    """
    if not net.heads:
        raise UserError(
            f"{net.description.method} should have attribute heads, found none in its file: use `fabnet embed`"
        )
    one = net.attributes_of(np.zeros((1, net.description.dims), np.float32), np.ones((1, 2)))
    fields: list[pa.Field] = []
    for name, values in one.items():
        if values.ndim == 3:
            columns_of = {csv_tables.COLUMNS: " ".join(net.columns[name])}
            fields.append(pa.field(name, pa.list_(pa.float32(), values.size), metadata=columns_of))
        else:
            fields += [pa.field(f"{name}_{column}", pa.float32()) for column in net.columns[name]]
    return fields


def describe(net: "Network", faces: Sequence[Face]) -> Iterator[dict[str, Any] | str]:
    """The columns of each face, or why it is a reject."""
    values = measured(net, faces)
    for number in range(len(faces)):
        row: dict[str, Any] = {}
        for name, of_all in values.items():
            if of_all.ndim == 3:
                row[name] = of_all[number].ravel()
            else:
                row |= {
                    f"{name}_{column}": value for column, value in zip(net.columns[name], of_all[number], strict=True)
                }
        is_finite = all(np.isfinite(of_all[number]).all() for of_all in values.values())
        yield row if is_finite else "an attribute is not finite"


TABLE = Table("attributes", columns, describe)


def measured(net: "Network", faces: Sequence[Face]) -> Values:
    """All attributes of the faces; points in px of the frames that the faces were cut from, pixel centres."""
    values = net.attributes([face.crop for face in faces])
    return {name: _in_frames(of, faces) if of.ndim == 3 else of for name, of in values.items()}


def _in_frames(points: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """Points (N, P, 2) of the crops, in px of the frames; undoes `fabnet.boxes.follow`."""
    edges = np.array([face.square for face in faces], np.float64).reshape(-1, 4)
    size = np.array([face.crop.shape[1::-1] for face in faces], np.float64).reshape(-1, 2)  # width, height
    scale = (edges[:, 2:] - edges[:, :2]) / size
    return ((points + 0.5) * scale[:, None] + edges[:, None, :2] - 0.5).astype(np.float32)
