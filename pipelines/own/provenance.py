"""What it takes to make a table of faces again, as its metadata: settings, versions, digests of the files."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.own import options
from pipelines.own.detection import Search
from pipelines.own.options import Options
from stages.footage import videos
from stages.reporting import revision
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.files import file_digest

KIND, FACES = "kind", "faces"  # in the metadata: what the rows of a table are
COMMAND, FPS, ONE_FACE, SOURCES = "command", "fps", "one_face", "sources"
VERSIONS = ("tool", "detector_version", "decoder", "image_decoder", "network_library", "device")
CODE = Path(__file__).resolve().parents[2]
EXPECTED = "expected a Parquet table, as `fabnet embed`, `attributes` or `crops` writes it"


class Source(NamedTuple):
    """A file that a table was made from."""

    name: str  # as it was named
    sha256: str | None  # None for what is not a file, such as a pipe


@dataclass(frozen=True)
class Origin:
    """How a table was made."""

    command: str
    fps: float | None
    one_face: bool
    options: Options
    sources: list[Source]
    metadata: Mapping[str, str]  # all of the table's


def settings(
    command: str, fps: float | None, one_face: bool, search: Search, named: Mapping[str, str]
) -> dict[str, str]:
    """Metadata that are known before the files are read; `named` are those of the network and the detector."""
    return {
        tables.VERSION: tables.SCHEMA_VERSION,
        KIND: FACES,
        COMMAND: command,
        FPS: json.dumps(fps),
        ONE_FACE: json.dumps(one_face),
        **named,
        "search": json.dumps(asdict(search)),
        "tool": _tool(),
        "decoder": videos.decoder(),
        "image_decoder": f"OpenCV {cv2.__version__}, {_versions('pillow', 'pillow-heif')}",
        "network_library": _versions("torch"),
    }


def of_files(paths: Sequence[Path]) -> dict[str, str]:
    """Metadata that name the files by digests."""
    return {SOURCES: json.dumps([Source(str(path), digest(path)) for path in paths])}


def digest(path: Path) -> str | None:
    """The sha256 of a file; None where there is none, or where it cannot be read."""
    try:
        return file_digest(path) if path.is_file() else None
    except OSError:
        return None


def read(path: Path) -> Origin:
    """How a table was made.

    Raises:
        UserError: it is no table of faces, or of another version.
    """
    found = metadata_of(path)
    if found.get(KIND) != FACES:
        raise UserError(f"{path} does not say how it was made: {EXPECTED}; pandas drops the metadata of a table")
    if found.get(tables.VERSION) != tables.SCHEMA_VERSION:
        raise UserError(f"{path} has schema version {found.get(tables.VERSION)}, this project reads "
                        f"{tables.SCHEMA_VERSION}: verify it with the version that wrote it")  # fmt: skip
    try:
        fps = json.loads(found[FPS])
        sources = [_source(*entry) for entry in json.loads(found[SOURCES])]
        made_by = options.unpacked(found[options.OPTIONS])
        one_face = json.loads(found[ONE_FACE]) is True
        return Origin(found[COMMAND], None if fps is None else float(fps), one_face, made_by, sources, found)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"{path} does not say how it was made ({reason}): {EXPECTED}") from None


def is_of_faces(path: Path) -> bool:
    """Whether it is a table of faces, or has been one.

    Raises:
        UserError: it is CSV.
    """
    if path.suffix.lower() == ".csv":
        raise UserError(f"{path} is CSV, which does not say how it was made: verify the Parquet table")
    try:
        schema = pq.read_schema(path)
    except tables.UNREADABLE:
        return False  # whoever reads it says why
    kind = (schema.metadata or {}).get(KIND.encode(), b"").decode(errors="replace")
    return kind == FACES or (not kind and {"source", "frame", "face"} <= set(schema.names))


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a Parquet table.

    Raises:
        UserError: it cannot be read.
    """
    with _readable(path):
        found = pq.read_schema(path).metadata or {}
        return {key.decode(): value.decode() for key, value in found.items()}


def rows(path: Path) -> pa.Table:
    """The rows of a Parquet table.

    Raises:
        UserError: it cannot be read.
    """
    with _readable(path):
        found = pq.read_table(path)
        found.validate(full=True)
        return found


@contextmanager
def _readable(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {EXPECTED}") from None
    except tables.UNREADABLE as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}): {EXPECTED}") from None


def _source(name: Any, sha256: Any) -> Source:
    if not isinstance(name, str) or not isinstance(sha256, str | None):
        raise TypeError(f"expected a name and a digest, found {name!r} and {sha256!r}")
    return Source(name, sha256)


def _tool() -> str:
    return f"{_versions('fabnet-pipelines')}, code {revision.code_hash(CODE)}"


def _versions(*packages: str) -> str:
    return ", ".join(f"{name} {_version(name)}" for name in packages)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
