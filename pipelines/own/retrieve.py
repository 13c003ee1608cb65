"""The faces of a table whose embeddings are nearest to that of one face."""

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
from pipelines.own import detection, listed, networks, outputs, sources
from pipelines.own.options import Count, Flag, Options, ready
from stages.footage import videos
from stages.reporting import figures
from stages.runtime import embedding_tables, tables
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
    """Print the faces of a table that are nearest to a face, and show them in an image.

    Nearest is the highest cosine similarity of embeddings after the mean of the table is subtracted.

    Args:
        table: What `fabnet embed` wrote; the files that it names are read again for the image.
        query: An image; its largest face is used.
        row: A row of the table instead, from 0.
        count: Number of neighbours.
        other_sources: Leave out the file of the row, since its neighbouring frames would be the nearest.
        out: The image: the face and its neighbours, nearest first.
        options: How the network runs and faces are detected.
    """
    outputs.check(out, [".jpg", ".jpeg"], [table, *([query] if query else [])])
    if outputs.is_csv(table):
        raise UserError(f"{table} should be a Parquet table, since CSV does not name the network: write one with "
                        f"`fabnet embed --out {table.with_suffix('.parquet').name}`")  # fmt: skip
    faces = tables.read(table)
    vectors = _vectors(table, faces)
    if query is not None and row is None:
        vector, image = _query(query, table, faces, options or Options())
        is_excluded = np.zeros(len(vectors), bool)
    elif row is not None and query is None:
        is_excluded = _excluded(table, faces, row, other_sources)
        vector, image = vectors[row], _crops([_row(faces, row)])[0]
    else:
        raise UserError(f"name either an image or a row: fabnet retrieve {table} face.jpg, or --row 12")
    nearest = _nearest(vector, vectors, is_excluded, count)
    if not nearest:
        raise UserError(f"{table} should hold a face besides the query, found none")
    rows = [_row(faces, number) for number, _ in nearest]
    cosines = [cosine for _, cosine in nearest]
    _print(rows, cosines)
    neighbours = list(zip(map(_floats, _crops(rows)), cosines, strict=True))
    _write(out, figures.neighbours([figures.Retrieved(_floats(image), {"": neighbours})]))


def _vectors(path: Path, faces: pa.Table) -> Vectors:
    missing = [name for name in (*COLUMNS, "embedding") if name not in faces.column_names]
    if missing or not faces.num_rows:
        found = f"no column {missing[0]}" if missing else "no face"
        raise UserError(f"{path} should be a table of embeddings, found {found}: write it with `fabnet embed`")
    if problem := embedding_tables.problem(faces["embedding"], faces["source"]):
        raise UserError(f"{path}: {problem}: write it again with `fabnet embed`")
    return np.array(faces["embedding"].combine_chunks().flatten()).reshape(faces.num_rows, -1)


def _query(query: Path, path: Path, faces: pa.Table, options: Options) -> tuple[NDArray[np.float32], Image]:
    """Embedding and crop of the face on an image, by the network that the table was made with."""
    sha256 = (faces.schema.metadata or {}).get(b"model_sha256", b"").decode()
    if not sha256:
        raise UserError(f"{path} does not name its model, since pandas drops the metadata of a table: filter it with "
                        "pyarrow, or use --row")  # fmt: skip
    net, faces_search, metadata = ready(options)
    if metadata["model_sha256"] != sha256:
        used = networks.choose(options.model, options.released)[0]
        raise UserError(f"{path} was made with another model than {used}: name that one with "
                        "--model or --released, or run `fabnet embed` again")  # fmt: skip
    face = detection.largest_face(query, faces_search)
    return net.embed([face.crop])[0], face.crop


def _excluded(path: Path, faces: pa.Table, row: int, other_sources: bool) -> NDArray[np.bool_]:
    """Which rows are left out: the row itself, or all rows of its source."""
    if not 0 <= row < faces.num_rows:
        raise UserError(f"--row should be one of the {faces.num_rows} rows of {path}, from 0, found {row}")
    if not other_sources:
        return np.arange(faces.num_rows) == row
    sources_of_rows = np.array(faces["source"].to_pylist())
    return sources_of_rows == sources_of_rows[row]


def _nearest(
    vector: NDArray[np.float32], vectors: Vectors, is_excluded: NDArray[np.bool_], count: int
) -> list[tuple[int, float]]:
    """Row and cosine similarity of the nearest, highest first; ties by row."""
    import torch  # noqa: PLC0415  see `networks.load`

    from fabnet import retrieval  # noqa: PLC0415

    gallery = torch.from_numpy(vectors)
    similarities = retrieval.similarities(torch.from_numpy(vector)[None], gallery, gallery.double().mean(0))
    cosines = next(similarities)[1][0].numpy()
    order = [int(row) for row in np.argsort(-cosines, kind="stable") if not is_excluded[row]]
    return [(row, float(cosines[row])) for row in order[:count]]


def _row(faces: pa.Table, number: int) -> Row:
    return {"row": number, **faces.select(COLUMNS).slice(number, 1).to_pylist()[0]}


def _print(rows: list[Row], cosines: list[float]) -> None:
    table = Table("cosine", *SHOWN)
    for row, cosine in zip(rows, cosines, strict=True):
        row["time_s"] = "" if row["time_s"] is None else f"{row['time_s']:.2f}"
        table.add_row(f"{cosine:.3f}", *(str(row[name]) for name in SHOWN))
    Console().print(table)


def _crops(rows: list[Row]) -> list[Image]:
    """The crops of the rows' faces; every file is read once."""
    crops: dict[int, Image] = {}
    for source, of_source in groupby(
        sorted(rows, key=lambda row: (row["source"], row["frame"])), lambda row: row["source"]
    ):
        rows_of_source = list(of_source)
        images = _images(Path(listed.on_disk(source)), {row["frame"] for row in rows_of_source})
        for row in rows_of_source:
            box = crop_box((row["x0"], row["y0"], row["x1"], row["y1"]))
            crops[row["row"]] = face_crop(images[row["frame"]], box, SIDE_PX)
    return [crops[row["row"]] for row in rows]


def _images(source: Path, numbers: set[int]) -> dict[int, Image]:
    try:
        if sources.is_image(source):
            return {0: sources.read_image(source)}
        images: dict[int, Image] = {}
        for frame in videos.frames(source, after=min(numbers) - 1):
            if frame.number in numbers:
                images[frame.number] = frame.image
            if len(images) == len(numbers):
                break
        return {number: images[number] for number in numbers}
    except (Rejected, KeyError) as error:
        raise UserError(f"{source} should be as it was when the table was made: {error}") from None


def _floats(image: Image) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(255)


def _write(out: Path, png: bytes) -> None:
    replace_bytes(out, media.encode_jpeg(media.decode_image(png), QUALITY))
    log.info("retrieve: see %s", out)
