"""The faces of one's own videos and images themselves, cut as the network sees them, with an index."""

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.own import outputs
from pipelines.own.detection import Face
from pipelines.own.options import Flag, Options
from pipelines.own.tabulate import Table, tabulate
from stages.runtime import csv_tables, files
from stages.runtime.outputs import replaced
from stages.storage import media
from stages.storage.media import Image

if TYPE_CHECKING:
    from fabnet.inference.network import Network

QUALITY = 95  # of the JPEGs
STEM = 40  # letters of a file's name that are kept
PIXELS = "pixels_sha256"  # of a cut face: which images are the same, whatever they are encoded as
DIGEST = [pa.field(PIXELS, pa.string())]
NAMED_BY = ["source_number", "source", "frame", "time_s", "face"]

Add = Callable[[str, bytes], None]  # name and content of a file


def crops(
    *sources: Path,
    out: Path = Path("faces"),
    index: Literal["parquet", "csv"] = "parquet",
    png: Flag = False,
    fps: float | None = None,
    one_face: Flag = False,
    options: Options | None = None,
) -> None:
    """Write every face as an image, and an index with a row for each: file, source, frame, time, box, score, quality.

    Args:
        sources: Videos, images, folders of them, or lists (.txt, .csv) that name one file a line.
        out: A new folder, or *.tar. What cannot be used is listed in NAME.rejects.parquet beside it.
        index: What the index in it is: index.parquet, or index.csv, which does not say how it was made.
        png: Write PNG, which keeps every pixel, instead of JPEG of quality 95.
        fps: Frames of a video per second to use, above 0 and at most 1000; all, if not given.
        one_face: Keep one person of each video, the one who is there longest; of an image the largest face.
        options: How the network runs and faces are detected.
    """
    suffix = ".png" if png else ".jpg"
    join = partial(_join, index=f"index.{index}", suffix=suffix)
    table = Table("crops", _columns, partial(_describe, suffix=suffix), outputs.check_images, join)
    tabulate(table, sources, out=out, fps=fps, one_face=one_face, options=options or Options())


def _columns(net: "Network") -> list[pa.Field]:
    """Of unfinished parts: the digest of the pixels, and the image file."""
    del net
    return [*DIGEST, pa.field("image", pa.binary())]


def _describe(net: "Network", faces: Sequence[Face], *, suffix: str) -> Iterator[dict[str, Any]]:
    for digest, face in zip(_digests(net, faces), faces, strict=True):
        yield {**digest, "image": _encoded(face.crop, suffix)}


def _digests(net: "Network", faces: Sequence[Face]) -> Iterator[dict[str, Any]]:
    del net
    for face in faces:
        yield {PIXELS: hashlib.sha256(repr(face.crop.shape).encode() + face.crop.tobytes()).hexdigest()}


DIGESTS = Table("crops", lambda _: DIGEST, _digests)  # the index without the images


def _encoded(crop: Image, suffix: str) -> bytes:
    if suffix == ".jpg":
        return media.encode_jpeg(crop, QUALITY)
    return cv2.imencode(suffix, crop[..., ::-1])[1].tobytes()


def _join(paths: Sequence[Path], out: Path, schema: pa.Schema, *, index: str, suffix: str) -> None:
    """Write the images of all parts and the index, all of them or nothing."""
    wanted = [field for field in schema if field.name != "image"]
    schema = pa.schema([pa.field("file", pa.string()), *wanted], metadata=schema.metadata)
    rows: list[pa.Table] = [schema.empty_table()]
    with _folder(out) if not out.suffix else _tar(out) as add:
        for path in paths:
            part = pq.read_table(path)
            names = [_name(row, suffix) for row in part.select(NAMED_BY).to_pylist()]
            for name, image in zip(names, part["image"], strict=True):
                add(name, image.as_py())
            rows.append(part.append_column("file", pa.array(names, pa.string())).select(schema.names).cast(schema))
        add(index, _packed(pa.concat_tables(rows), schema, index))


def _name(row: Mapping[str, Any], suffix: str) -> str:
    """`00000-clip/0000012-0.jpg` for frame 12 of a video, `00001-portrait-0.jpg` for an image."""
    stem = re.sub(r"[^\w-]", "_", Path(row["source"]).stem)[:STEM]
    of_file = f"{row['source_number']:05d}-{stem}"
    return f"{of_file}-{row['face']}{suffix}" if row["time_s"] is None else (
        f"{of_file}/{row['frame']:07d}-{row['face']}{suffix}")  # fmt: skip


def _packed(rows: pa.Table, schema: pa.Schema, index: str) -> bytes:
    buffer = io.BytesIO()
    if index.endswith(".csv"):
        csv_tables.pack(buffer, [rows], schema)
    else:
        pq.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()


@contextmanager
def _folder(out: Path) -> Generator[Add, None, None]:
    """Adds files to a folder, which appears whole or not at all."""
    with replaced(out) as folder:

        def add(name: str, data: bytes) -> None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

        yield add


@contextmanager
def _tar(out: Path) -> Generator[Add, None, None]:
    """Adds files to a tar file, which appears whole or not at all; equal content gives equal bytes."""
    with files.whole(out) as whole, tarfile.open(whole, "w") as archive:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        yield add
