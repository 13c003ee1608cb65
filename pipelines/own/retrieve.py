"""The faces of a table that are nearest to one face."""

import logging
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fabnet.boxes import crop_box
from fabnet.images import face_crop
from pipelines.own import looking, outputs, sources, videos
from pipelines.own.options import Count, Flag, Options, about, network, search
from stages.reporting import figures
from stages.runtime import tables
from stages.runtime.errors import Rejected, UserError
from stages.runtime.files import replace_bytes
from stages.storage import media
from stages.storage.media import Image

log = logging.getLogger(__name__)

SHOWN = ("row", "source", "frame", "time_s", "face")
COLUMNS = ["source", "frame", "time_s", "face", "x0", "y0", "x1", "y1", "score"]
SIDE_PX, QUALITY = 256, 92

Row = dict[str, Any]
Vectors = NDArray[np.float32]  # (N, D)


def retrieve(
    table: Path,
    query: Path | None = None,
    *,
    row: int | None = None,
    count: Count = 6,
    other_sources: Flag = False,
    out: Path = Path("neighbours.jpg"),
    options: Options | None = None,
) -> None:
    """Show the faces of a table that are nearest to a face: printed, and as a picture.

    Nearest is the highest cosine similarity of embeddings, seen from the mean of the table.

    Args:
        table: What `fabnet embed` wrote; the files that it names are read again for the picture.
        query: A picture; the largest face on it is taken.
        row: A row of the table instead, from 0.
        count: Number of neighbours.
        other_sources: Leave out the file that the row is from, since the frames next to it are nearest.
        out: The picture: the face, and its neighbours, nearest first.
        options: How the network is run and faces are found.
    """
    outputs.check(out, [".jpg", ".jpeg"], [table, *([query] if query else [])])
    found = tables.read(table)
    vectors = _vectors(table, found)
    if query is not None and row is None:
        vector, asked = _asked(query, table, found, options or Options())
        is_shut = np.zeros(len(vectors), bool)
    elif row is not None and query is None:
        is_shut = _shut(table, found, row, other_sources)
        vector, asked = vectors[row], _pictures([_row(found, row)])[0]
    else:
        raise UserError(f"name either a picture or a row: fabnet retrieve {table} face.jpg, or --row 12")
    nearest = _nearest(vector, vectors, is_shut, count)
    if not nearest:
        raise UserError(f"{table} should hold another face to be found, found none")
    rows = [_row(found, place) for place, _ in nearest]
    _print(rows, [cosine for _, cosine in nearest])
    shown = [(_shown(picture), cosine) for picture, (_, cosine) in zip(_pictures(rows), nearest, strict=True)]
    _write(out, figures.neighbours([figures.Retrieved(_shown(asked), {"": shown})]))


def _vectors(path: Path, found: pa.Table) -> Vectors:
    missing = [name for name in (*COLUMNS, "embedding") if name not in found.column_names]
    if missing or not found.num_rows:
        what = f"no column {missing[0]}" if missing else "no face"
        raise UserError(f"{path} should be a table of embeddings, found {what}: write it with `fabnet embed`")
    return np.array(found["embedding"].combine_chunks().flatten()).reshape(found.num_rows, -1)


def _asked(query: Path, path: Path, found: pa.Table, options: Options) -> tuple[NDArray[np.float32], Image]:
    """Embedding and crop of the face on a picture, from the network that the table was made with."""
    made_with = (found.schema.metadata or {}).get(b"model_sha256", b"").decode()
    if not made_with:
        raise UserError(f"{path} does not name its model, which a table loses in pandas: filter it with pyarrow, or "
                        "ask by --row")  # fmt: skip
    net = network(options)
    if about(net, options.model)["model_sha256"] != made_with:
        raise UserError(f"{path} was made with another model than {options.model}: name that one with --model, or run "
                        "`fabnet embed` again")  # fmt: skip
    face = looking.only_face(query, search(net, options)[0])
    return net.embed([face.crop])[0], face.crop


def _shut(path: Path, found: pa.Table, row: int, other_sources: bool) -> NDArray[np.bool_]:
    """Which rows are not to be found: the row itself, or all of its source."""
    if not 0 <= row < found.num_rows:
        raise UserError(f"--row should be one of the {found.num_rows} rows of {path}, from 0, found {row}")
    if not other_sources:
        return np.arange(found.num_rows) == row
    sources_of_rows = np.array(found["source"].to_pylist())
    return sources_of_rows == sources_of_rows[row]


def _nearest(
    vector: NDArray[np.float32], vectors: Vectors, is_shut: NDArray[np.bool_], count: int
) -> list[tuple[int, float]]:
    """Row and cosine similarity of the nearest, best first; ties by row."""
    import torch  # noqa: PLC0415  see `options.network`

    from fabnet import retrieval  # noqa: PLC0415

    gallery = torch.from_numpy(vectors)
    similarities = retrieval.similarities(torch.from_numpy(vector)[None], gallery, gallery.double().mean(0))
    cosines = next(similarities)[1][0].numpy()
    order = [int(place) for place in np.argsort(-cosines, kind="stable") if not is_shut[place]]
    return [(place, float(cosines[place])) for place in order[:count]]


def _row(found: pa.Table, place: int) -> Row:
    return {"row": place, **found.select(COLUMNS).slice(place, 1).to_pylist()[0]}


def _print(rows: list[Row], cosines: list[float]) -> None:
    shown = Table("cosine", *SHOWN)
    for row, cosine in zip(rows, cosines, strict=True):
        row["time_s"] = "" if row["time_s"] is None else f"{row['time_s']:.2f}"
        shown.add_row(f"{cosine:.3f}", *(str(row[name]) for name in SHOWN))
    Console().print(shown)


def _pictures(rows: list[Row]) -> list[Image]:
    """What the faces of the rows look like; every file is read once."""
    crops: dict[int, Image] = {}
    for source, of_source in groupby(
        sorted(rows, key=lambda row: (row["source"], row["frame"])), lambda row: row["source"]
    ):
        wanted = list(of_source)
        images = _images(Path(source), {row["frame"] for row in wanted})
        for row in wanted:
            box = crop_box((row["x0"], row["y0"], row["x1"], row["y1"]))
            crops[row["row"]] = face_crop(images[row["frame"]], box, SIDE_PX)
    return [crops[row["row"]] for row in rows]


def _images(source: Path, numbers: set[int]) -> dict[int, Image]:
    try:
        if sources.is_picture(source):
            return {0: looking.read_picture(source)}
        images: dict[int, Image] = {}
        for frame in videos.frames(source, behind=min(numbers) - 1):
            if frame.number in numbers:
                images[frame.number] = frame.image
            if len(images) == len(numbers):
                break
        return {number: images[number] for number in numbers}
    except (Rejected, KeyError) as error:
        raise UserError(f"{source} should be as it was when the table was made, found otherwise: {error}") from None


def _shown(image: Image) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(255)


def _write(out: Path, png: bytes) -> None:
    replace_bytes(out, media.encode_jpeg(media.decode_image(png), QUALITY))
    log.info("retrieve: see %s", out)
