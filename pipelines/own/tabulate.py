"""A table with one row for each face of the user's files, written in parts and joined at the end.

Unfinished parts lie beside the result in `.<name>.parts/`, under a fingerprint of everything that the rows depend
on; the same command continues after the last finished part. The table appears whole under its name or not at all. Two
runs do not write the same table.
"""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.own import detection, listed, outputs, parts, people, provenance, sources, stretches
from pipelines.own.detection import Face, FrameFaces, InputFrame, Search
from pipelines.own.options import Options, check_fps, ready
from pipelines.own.parts import Mark, Part, Reject
from stages.footage import videos
from stages.runtime import csv_tables, progress, tables
from stages.runtime.errors import UserError, reason
from stages.runtime.files import file_identity
from stages.runtime.outputs import LOCK, alone
from stages.storage import journals

if TYPE_CHECKING:
    from fabnet.inference.network import Network

log = logging.getLogger(__name__)

FRAMES_PER_PART = 256
OF_FILES_READ = ("image too small",)  # kinds of rejects

# One face; the columns of the command follow.
FACES = pa.schema([
    ("source", pa.string()),  # as it was named
    ("frame", pa.int32()),  # in the video, from 0
    ("time_s", pa.float64()),  # since the first frame of the video; null for an image
    ("face", pa.int32()),  # in the frame, from 0, highest score first
    people.TRACK,
    ("x0", pa.float32()),  # box, continuous edges, px of the upright frame; it may leave it
    ("y0", pa.float32()),
    ("x1", pa.float32()),
    ("y1", pa.float32()),
    ("score", pa.float32()),  # of the detector, in its own scale; null for a crop
    ("is_interpolated", pa.bool_()),  # box and score lie between those of two searched frames of a video
    ("sharpness", pa.float32()),  # the three of `quality.Quality`
    ("side_px", pa.int32()),
    ("outside_frac", pa.float32()),
])  # fmt: skip

Columns = Callable[["Network"], Sequence[pa.Field]]
# Of each face, or why it is a reject.
Describe = Callable[["Network", Sequence[Face]], Iterable[Mapping[str, Any] | str]]


Check = Callable[[Path, Sequence[Path]], None]  # of the name of the result, and of all files that are read
Join = Callable[[Sequence[Path], Path, pa.Schema], None]  # finished parts -> the result


@dataclass(frozen=True)
class Table:
    """What a command makes of faces."""

    command: str
    columns: Columns
    describe: Describe
    check: Check = outputs.check_table
    join: Join = parts.join


class Written(NamedTuple):
    """What a result holds."""

    faces: int
    files: int
    is_any_used: bool  # at least one file showed a picture, with or without a face
    rejects: list[Reject]


@dataclass(frozen=True)
class Job:
    """The table to write, and its input."""

    paths: Sequence[Path]
    out: Path
    fps: float | None
    net: "Network"
    search: Search
    is_one_face: bool  # of each source one person only
    schema: pa.Schema  # of the result
    table: "Table"
    identities: Sequence[Any]  # of the files, before the first is read

    @property
    def command(self) -> str:
        return self.table.command

    @property
    def unfinished(self) -> Path:
        """Folder of finished parts of an unfinished table."""
        return self.out.with_name(f".{self.out.name}.parts")


def tabulate(
    table: Table, named: Sequence[Path], *, out: Path, fps: float | None, one_face: bool, options: Options
) -> None:
    """`write` a table and log what it holds.

    Raises:
        UserError: as `write` does; or no file could be used, after the table and the rejects are written.
    """
    written = write(table, named, out=out, fps=fps, one_face=one_face, options=options)
    found, read = outputs.counted(written.faces, "face"), outputs.counted(written.files, "file")
    log.info("%s: %s found, %s read, see %s", table.command, found, read, out)
    _log_rejects(written.rejects)
    if not written.is_any_used:
        raise UserError(f"no file could be used: {_rejects_name(out)} says why, for each of them")


def write(
    table: Table, named: Sequence[Path], *, out: Path, fps: float | None, one_face: bool, options: Options
) -> Written:
    """Write `out`, Parquet or CSV by its name, and `<name>.rejects` beside it, for the files that `named` stands for.

    `fps`: frames of a video per second to use; None: all. `one_face`: of each source one person only.

    Raises:
        UserError: `fps` is out of range, nothing is named, something named does not exist, there is no usable model,
            `out` is not a name for the result, or another run writes it.
    """
    check_fps(fps)
    paths = sources.files(named)
    table.check(out, [*named, *paths])
    net, faces_search, named_in = ready(options)
    metadata = provenance.settings(table.command, fps, one_face, faces_search, named_in)
    schema = pa.schema([*FACES, *table.columns(net)], metadata=metadata)
    job = Job(paths, out, fps, net, faces_search, one_face, schema, table, _identities(paths))
    with alone(job.unfinished / LOCK, str(out)):
        return _run(job)


def _run(job: Job) -> Written:
    folder = _folder(job)
    done = parts.finished(folder)
    if done:
        log.info("%s: continuing after %d finished parts", job.command, len(done))
    mark = parts.mark(done[-1]) if done else Mark()
    frames = detection.input_frames(job.paths, job.fps, _again(mark))
    with closing(stretches.detect_all(frames, job.search)) as detected:
        new = (of for of in detected if _mark(of) > mark)
        tracked = progress.track(new, None if done else _expected(job), job.command, "frames")
        for number, part in enumerate(_chunks(tracked), len(done)):
            _write_part(job, folder / f"{number:08d}.parquet", part)
    return _finish(job, parts.finished(folder))


def _folder(job: Job) -> Path:
    """Where the parts of this job lie; another model, setting, file or version has another folder."""
    files = [[str(path), identity] for path, identity in zip(job.paths, job.identities, strict=True)]
    code = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    inputs = [job.fps, files, sorted((str(key), str(value)) for key, value in job.schema.metadata.items())]
    return journals.folder(job.unfinished.parent, job.unfinished.name, job.command, json.dumps(inputs), *code)


def _identities(paths: Sequence[Path]) -> list[Any]:
    return [file_identity(path) if sources.is_there(path) else None for path in paths]


def _expected(job: Job) -> int | None:
    """Number of frames to come; None if a video does not announce its length."""
    counts = [1 if sources.is_image(path) else _length(path, job.fps) for path in job.paths]
    return None if None in counts else sum(filter(None, counts))


def _length(path: Path, fps: float | None) -> int | None:
    try:
        form = videos.read_format(path)
    except UserError:
        return 1  # the frame with the error
    return form.frames and round(form.frames * (1 if fps is None else min(1, fps / form.fps)))


def _again(mark: Mark) -> Mark:
    """Where to go on after a part: its last frame is searched once more, since faces of the next ones begin there."""
    return mark if mark.frame in (-1, detection.END) else Mark(mark.source_number, mark.frame - 1)


def _mark(of: FrameFaces) -> Mark:
    return Mark(of.frame.source_number, of.frame.number)


def _chunks(detected: Iterator[FrameFaces]) -> Iterator[Iterator[FrameFaces]]:
    """About FRAMES_PER_PART frames, up to one that is searched whatever the frames around it show."""
    for first in detected:
        yield chain([first], _rest(first, detected))


def _rest(last: FrameFaces, detected: Iterator[FrameFaces]) -> Iterator[FrameFaces]:
    count = 1
    while not (last.is_key and count >= FRAMES_PER_PART):
        following = next(detected, None)
        if following is None:
            return
        yield following
        last, count = following, count + 1


def _write_part(job: Job, path: Path, part: Iterable[FrameFaces]) -> None:
    rows: list[Mapping[str, Any]] = []
    rejects: list[Reject] = []
    cuts: list[Mark] = []
    mark = Mark()
    for batch in detection.batches(part):
        faces = [(of.frame, number, face) for of in batch for number, face in enumerate(of.faces)]
        described = job.table.describe(job.net, [face for _, _, face in faces]) if faces else []
        for (frame, number, face), columns in zip(faces, described, strict=True):
            if isinstance(columns, str):
                rejects.append(Reject(listed.shown(frame.source), columns, f"face {number} of frame {frame.number}"))
            else:
                rows.append({**_face_columns(frame, number, face), **columns})
        rejects += [Reject(listed.shown(of.frame.source), of.error.kind, of.error.detail) for of in batch if of.error]
        cuts += [_mark(of) for of in batch if of.frame.is_cut]
        mark = _mark(batch[-1])
    parts.write(path, pa.schema([*people.COLUMNS, *job.schema]), rows, Part(rejects, cuts, mark))


def _face_columns(frame: InputFrame, number: int, face: Face) -> dict[str, Any]:
    source = {"source_number": frame.source_number, "source": listed.shown(frame.source)}
    edges = dict(zip(("x0", "y0", "x1", "y1"), face.box, strict=True))
    found = {**source, "frame": frame.number, "time_s": frame.time_s, "face": number, **edges, "score": face.score}
    measured = {**face.quality._asdict(), "is_interpolated": face.is_interpolated}
    return {**found, **measured, **people.columns(frame, face)}


def _finish(job: Job, done: Sequence[Path]) -> Written:
    rejects = parts.rejects(done)
    done = people.numbered(done, job.unfinished / "numbered", is_one_face=job.is_one_face)
    faces = Counter[str]()
    for part in done:
        faces.update(pq.read_table(part, columns=["source"])["source"].to_pylist())
    without_face = {listed.shown(path) for path in job.paths} - set(faces) - {reject.source for reject in rejects}
    is_nothing_read = not faces and not without_face and all(reject.kind not in OF_FILES_READ for reject in rejects)
    rejects += [Reject(source, "no face found") for source in sorted(without_face)]
    metadata = {**job.schema.metadata, **provenance.of_files(job.paths)}
    _check_unchanged(job)
    _write_rejects(job, rejects)
    job.table.join(done, job.out, job.schema.with_metadata(metadata))
    shutil.rmtree(job.unfinished)
    return Written(faces.total(), len(job.paths), not is_nothing_read, rejects)


def _check_unchanged(job: Job) -> None:
    """Check that the digests in the metadata are of what the rows were made from.

    Raises:
        UserError: a file is another one than at the start.
    """
    for path, before, now in zip(job.paths, job.identities, _identities(job.paths), strict=True):
        if now != before:
            raise UserError(f"{path} was changed while it was read: run the same command again, which begins anew")


def _rejects_name(out: Path) -> Path:
    return out.with_suffix(".rejects.csv" if outputs.is_csv(out) else ".rejects.parquet")


def _write_rejects(job: Job, rejects: Sequence[Reject]) -> None:
    table = tables.Rejects(job.command)
    for reject in rejects:
        table.add("own", *reject)
    out = _rejects_name(job.out)
    if outputs.is_csv(out):
        csv_tables.write(out, [pa.Table.from_pylist(table.rows, tables.REJECTS)], tables.REJECTS)
    else:
        table.write(out)


def _log_rejects(rejects: Sequence[Reject]) -> None:
    """Log how many rejects there are of each kind, and one file of each."""
    by_kind: dict[str, list[Reject]] = {}
    for reject in rejects:
        by_kind.setdefault(reject.kind, []).append(reject)
    for _, of_kind in sorted(by_kind.items()):
        first = of_kind[0]
        such_as = "such as " if len(of_kind) > 1 else ""
        log.info("  %d x %s (%s%s)", len(of_kind), reason(first.kind, first.detail), such_as, first.source)
