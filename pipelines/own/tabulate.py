"""One row for each face of the user's files, in Parquet: written in parts that survive a stop, joined at the end.

Unfinished parts lie beside the result in `.<name>.parts/`, under a fingerprint of everything that the rows depend
on; the same command goes on behind the last finished part. The table appears whole under its name or not at all.
"""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.own import looking, outputs, parts, sources, videos
from pipelines.own.looking import Face, Search, Seen
from pipelines.own.options import Options, about, check_fps, network, search
from pipelines.own.parts import Lost, Mark
from stages.releases.readers import printable
from stages.runtime import progress, tables
from stages.runtime.errors import UserError, reason
from stages.runtime.files import file_identity
from stages.storage import journals

if TYPE_CHECKING:
    from fabnet.inference.network import Network

log = logging.getLogger(__name__)

SHOTS_PER_PART = 256

# One face. What a command has to say about it follows.
FACES = pa.schema([
    ("source", pa.string()),  # as it was named
    ("frame", pa.int32()),  # in the video, from 0
    ("time_s", pa.float64()),  # since the first frame of the video; null for a picture
    ("face", pa.int32()),  # in the frame, from 0, best score first
    ("x0", pa.float32()),  # box as detected, continuous edges, px of the upright frame; it may leave it
    ("y0", pa.float32()),
    ("x1", pa.float32()),
    ("y1", pa.float32()),
    ("score", pa.float32()),  # of the detector, in its own scale; null for a crop
])  # fmt: skip

Columns = Callable[["Network"], Sequence[pa.Field]]
Describe = Callable[["Network", Sequence[Face]], Iterable[Mapping[str, Any] | str]]  # of each face, or why it has none


@dataclass(frozen=True)
class Job:
    """What is written, and from what."""

    command: str
    paths: Sequence[Path]
    out: Path
    fps: float | None
    net: "Network"
    search: Search
    schema: pa.Schema  # of the result
    describe: Describe

    @property
    def unfinished(self) -> Path:
        """Folder of finished parts of an unfinished table."""
        return self.out.with_name(f".{self.out.name}.parts")


def tabulate(
    command: str,
    named: Sequence[Path],
    *,
    out: Path,
    fps: float | None,
    options: Options,
    columns: Columns,
    describe: Describe,
) -> None:
    """Write `out` and `<name>.rejects.parquet` beside it, and tell what became of the files in `named`.

    `fps`: frames of a video that are looked at in a second; None: all.

    Raises:
        UserError: `fps` is out of range, nothing is named, something named does not exist, there is no usable model,
            or `out` is not a name for a table.
    """
    check_fps(fps)
    paths = sources.files(named)
    outputs.check(out, [".parquet"], paths)
    net = network(options)
    found, provenance = search(net, options)
    metadata = {tables.VERSION: tables.SCHEMA_VERSION, **about(net, options.model), **provenance}
    metadata |= {"search": json.dumps(asdict(found)), "decoder": videos.decoder()}
    schema = pa.schema([*FACES, *columns(net)], metadata=metadata)
    _run(Job(command, paths, out, fps, net, found, schema, describe))


def _run(job: Job) -> None:
    folder = _folder(job)
    done = parts.finished(folder)
    if done:
        log.info("%s: going on behind %d finished parts", job.command, len(done))
    shots = looking.shots(job.paths, job.fps, parts.mark(done[-1]) if done else Mark())
    with closing(looking.look_at(shots, job.search)) as looked:
        seen = progress.track(looked, None if done else _expected(job), job.command, "frames")
        for number, part in enumerate(_chunks(seen), len(done)):
            _write_part(job, folder / f"{number:08d}.parquet", part)
    _finish(job, parts.finished(folder))


def _folder(job: Job) -> Path:
    """Where the parts of this very job lie: another model, setting, file or version gives another folder."""
    files = [[str(path), file_identity(path) if sources.is_there(path) else None] for path in job.paths]
    code = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    wanted = [job.fps, files, sorted((str(key), str(value)) for key, value in job.schema.metadata.items())]
    return journals.folder(job.unfinished.parent, job.unfinished.name, job.command, json.dumps(wanted), *code)


def _expected(job: Job) -> int | None:
    """Number of shots to come; None where a video does not tell its length."""
    counts = [1 if sources.is_picture(path) else _length(path, job.fps) for path in job.paths]
    return None if None in counts else sum(filter(None, counts))


def _length(path: Path, fps: float | None) -> int | None:
    try:
        form = videos.described(path)
    except UserError:
        return 1  # the shot that says why
    return form.frames and round(form.frames * (1 if fps is None else min(1, fps / form.fps)))


def _chunks(seen: Iterator[Seen]) -> Iterator[Iterator[Seen]]:
    for first in seen:
        yield chain([first], islice(seen, SHOTS_PER_PART - 1))


def _write_part(job: Job, path: Path, part: Iterable[Seen]) -> None:
    rows: list[Mapping[str, Any]] = []
    lost: list[Lost] = []
    mark = Mark()
    for some in looking.batches(part):
        faces = [(seen, number, face) for seen in some for number, face in enumerate(seen.faces)]
        described = job.describe(job.net, [face for _, _, face in faces]) if faces else []
        for (seen, number, face), columns in zip(faces, described, strict=True):
            if isinstance(columns, str):
                lost.append(Lost(printable(seen.source), columns, f"face {number} of frame {seen.frame}"))
            else:
                rows.append({**_where(seen, number, face), **columns})
        lost += [Lost(printable(seen.source), seen.lost.kind, seen.lost.detail) for seen in some if seen.lost]
        mark = Mark(some[-1].place, some[-1].frame)
    parts.write(path, job.schema, rows, lost, mark)


def _where(seen: Seen, number: int, face: Face) -> dict[str, Any]:
    edges = dict(zip(("x0", "y0", "x1", "y1"), face.box, strict=True))
    shot = {"place": seen.place, "source": printable(seen.source), "frame": seen.frame, "time_s": seen.time_s}
    return {**shot, "face": number, **edges, "score": face.score}


def _finish(job: Job, done: Sequence[Path]) -> None:
    lost = parts.lost(done)
    faces = Counter[str]()
    for part in done:
        faces.update(pq.read_table(part, columns=["source"])["source"].to_pylist())
    unseen = {printable(str(path)) for path in job.paths} - set(faces) - {each.source for each in lost}
    lost += [Lost(source, "no face found") for source in sorted(unseen)]
    rejects = tables.Rejects(job.command)
    for each in lost:
        rejects.add("own", *each)
    rejects.write(job.out.with_suffix(".rejects.parquet"))
    parts.join(done, job.out, job.schema)
    shutil.rmtree(job.unfinished)
    log.info("%s: %d faces found, %d files read, see %s", job.command, faces.total(), len(job.paths), job.out)
    _tell(lost)


def _tell(lost: Sequence[Lost]) -> None:
    """How many rejects there are of each kind, and one file of each."""
    kinds: dict[str, list[Lost]] = {}
    for each in lost:
        kinds.setdefault(each.kind, []).append(each)
    for _, some in sorted(kinds.items()):
        log.info(
            "  %d x %s (%s%s)",
            len(some),
            reason(some[0].kind, some[0].detail),
            "such as " if len(some) > 1 else "",
            some[0].source,
        )
