"""Who is who in the finished parts of a table: the track of each row, and the one person of each video."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.own import parts, tracks
from pipelines.own.detection import Face, InputFrame
from pipelines.own.tracks import Seen, Tracks
from stages.runtime import files

TRACK = pa.field("track", pa.int32())  # one person of the video, from 0; null for an image
# Of the rows of parts, not of the table.
COLUMNS = [
    pa.field("look", pa.list_(pa.float32(), tracks.LOOK_SIZE)),
    pa.field("weight", pa.float32()),
    pa.field("before_s", pa.float64()),
]

BOX = ("x0", "y0", "x1", "y1")
KEY = ("source_number", "frame", "time_s", "before_s")

Tracked = Sequence[int | None]  # the track of each row of a part


def columns(frame: InputFrame, face: Face) -> dict[str, Any]:
    """Values of COLUMNS: how the face looks, how much it counts as the one person of its source, the time before.

    In a video a face counts 1 in the middle of the picture, and down to 1/2 in a corner; in an image its area.
    """
    x0, y0, x1, y1 = face.box
    if frame.time_s is None or frame.size_px is None:
        return {"look": tracks.look(face.crop), "weight": (x1 - x0) * (y1 - y0), "before_s": None}
    width, height = frame.size_px
    off_centre = float(np.hypot(x0 + x1 - width, y0 + y1 - height) / np.hypot(width, height))
    return {"look": tracks.look(face.crop), "weight": 1 - min(1.0, off_centre) / 2, "before_s": frame.before_s}


def numbered(done: Sequence[Path], folder: Path, *, is_one_face: bool) -> list[Path]:
    """The parts once more in `folder`, with the track of each row; of each source all faces or those of one person."""
    numbers = list(_tracked(done))
    kept = _alone(done, numbers) if is_one_face else [[True] * len(of_part) for of_part in numbers]
    folder.mkdir(parents=True, exist_ok=True)
    results = [folder / path.name for path in done]
    for path, result, of_part, mask in zip(done, results, numbers, kept, strict=True):
        rows = pq.read_table(path)
        place = rows.schema.get_field_index(TRACK.name)
        rows = rows.set_column(place, TRACK, pa.array(of_part, TRACK.type)).filter(pa.array(mask, pa.bool_()))
        with files.whole(result) as partial:
            pq.write_table(rows, partial)
    return results


def _tracked(done: Iterable[Path]) -> Iterator[Tracked]:
    """The track of each row, part by part."""
    known, source = Tracks(), -1
    for path in done:
        cuts = deque(parts.cuts(path))
        numbers: list[int | None] = []
        for (number, frame, time_s, before_s), faces in _frames(path):
            if number != source:
                known, source = Tracks(), number
            while cuts and cuts[0] <= (number, frame):
                if cuts.popleft().source_number == source:
                    known.cut()
            numbers += [None] * len(faces) if time_s is None else known.follow(time_s, faces, before_s)
        if any(cut.source_number == source for cut in cuts):
            known.cut()
        yield numbers


def _alone(done: Sequence[Path], numbers: Sequence[Tracked]) -> list[list[bool]]:
    """Whether each row is of the track that is there longest, or the largest face of an image; of equals the first."""
    rows = [_people(path, of_part) for path, of_part in zip(done, numbers, strict=True)]
    weights: dict[tuple[int, int], float] = {}
    for source, person, weight in chain.from_iterable(rows):
        weights[source, person] = weights.get((source, person), 0.0) + weight
    best: dict[int, int] = {}
    for source, person in sorted(weights, key=lambda key: (-weights[key], key)):
        best.setdefault(source, person)
    return [[best[source] == person for source, person, _ in of_part] for of_part in rows]


def _frames(path: Path) -> Iterator[tuple[tuple[int, int, float | None, float | None], list[Seen]]]:
    """KEY and faces of every frame that has any."""
    table = pq.read_table(path, columns=[*KEY, *BOX, "look"])
    looks = table["look"].combine_chunks().flatten().to_numpy().reshape(-1, tracks.LOOK_SIZE)
    keys = zip(*(table[name].to_pylist() for name in KEY), strict=True)
    boxes = zip(*(table[name].to_pylist() for name in BOX), strict=True)
    for key, of_frame in groupby(zip(keys, boxes, looks, strict=True), key=lambda row: row[0]):
        yield key, [Seen(box, look) for _, box, look in of_frame]


def _people(path: Path, numbers: Tracked) -> list[tuple[int, int, float]]:
    """Source, person (its track, or the face of an image) and weight of each row."""
    rows = pq.read_table(path, columns=["source_number", "face", "weight"]).to_pylist()
    return [
        (row["source_number"], row["face"] if number is None else number, row["weight"])
        for row, number in zip(rows, numbers, strict=True)
    ]
