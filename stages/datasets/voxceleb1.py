"""VoxCeleb1 as extracted face frames: `dense-face-frames.tar.gz` or `zippedFaces.tar.gz`, and `vox1_meta.csv`.

Frames are <Name>/1.6/<video>/<track>/<frame>.jpg; the second archive has no track level, so that its "track" is the
whole video and may contain several shots. Frame numbers count at 25 fps. <Name> is the `VGGFace1 ID` of the TAB
separated csv, which maps it to the VoxCeleb1 ID.

The archive is read twice: first to count the frames of each track, which may lie anywhere in it, then to take them out.
"""

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from stages.releases import published, tars
from stages.releases.readers import Frames, Reject, Release, Track, incomplete, printable, records, safe_path
from stages.releases.tars import TarMember
from stages.runtime.errors import Rejected, UserError
from stages.storage.media import check_size

log = logging.getLogger(__name__)

KIND = "track"
OWNER = "the VGG, University of Oxford: form at https://mm.kaist.ac.kr/datasets/voxceleb"
EXPECTED = "dense-face-frames.tar.gz (or zippedFaces.tar.gz) and vox1_meta.csv"
LABELS: dict[str, pa.DataType] = {}

META = "vox1_meta.csv"
ARCHIVES = ("dense-face-frames.tar.gz", "dense-face-frames.tar", "zippedFaces.tar.gz", "zippedFaces.tar")
PUBLISHED = {"people with frames": 1_251, f"people in {META}": 1_251}
ENLARGED = "1.6"  # folder named after the factor by which the owners enlarged the face box
NO_TRACK = "0"  # track of archives without a track level
MAX_TRACK_BYTES = 2**30
MAX_HELD_BYTES = 2**30  # of all tracks that are in memory together; at least MAX_TRACK_BYTES
_FRAME = re.compile(r"(?P<number>[0-9]{1,9})\.(?i:jpg)")

TrackKey = tuple[str, str, str]  # name, video, track


class Frame(NamedTuple):
    """One member of the archive."""

    name: str
    video_id: str
    track: str
    number: int

    @property
    def track_key(self) -> TrackKey:
        return self.name, self.video_id, self.track


@dataclass
class Extent:
    """What of a track is still to be read."""

    frames: int = 0
    bytes: int = 0


@dataclass
class Held:
    """A track of which frames are still to come."""

    left: int  # frames
    by_number: dict[int, bytes] = field(default_factory=dict[int, bytes])


def read(raw: Path) -> Release[Track]:
    """Tracks in the order of the archive; identities of the csv without tracks come last, as rejects.

    Raises:
        UserError: archive or csv missing, csv without its header. While items are read: archive damaged.
    """
    present = located(raw, [path.name for path in raw.iterdir()])
    if len(present) > 1:
        log.info("voxceleb1: reading %s, ignoring %s", present[0], ", ".join(present[1:]))
    identities: dict[str, str] = {}
    rejects: list[Reject] = []
    for row in records(raw / META, "\t", ["VoxCeleb1 ID", "VGGFace1 ID"]):
        if isinstance(row, Reject):
            rejects.append(row)
        elif identities.setdefault(row["VGGFace1 ID"], row["VoxCeleb1 ID"]) != row["VoxCeleb1 ID"]:
            rejects.append(Reject(row["VoxCeleb1 ID"], "repeated", f"{META} lists this person with another ID"))
    return Release(_items(raw / present[0], identities, rejects), None)


def located(raw: Path, names: Collection[str]) -> list[str]:
    """The archives; the first one is read.

    Raises:
        UserError: there is no archive, or no csv.
    """
    present = [name for name in ARCHIVES if name in names]
    if not present or META not in names:
        raise incomplete(raw, EXPECTED, META if present else "archive")
    return present


def _items(archive: Path, identities: dict[str, str], rejects: list[Reject]) -> Iterator[Track | Reject]:
    yield from rejects
    extents: dict[TrackKey, Extent] = {}
    yield from _listed(archive, extents)
    present = {name for name, _, _ in extents}
    yield from _unusable(extents, identities)
    while extents:
        before = len(extents)
        yield from _tracks(archive, extents, identities)
        if len(extents) == before:
            raise UserError(f"{archive} has changed while it was read: run the same command again")
    for name, identity in sorted(identities.items()):
        if name not in present:
            yield Reject(identity, "no tracks in the release", f"listed in {META}")
    counts = (len(present & set(identities)), len(identities))
    yield from published.lacking("voxceleb1", dict(zip(PUBLISHED, counts, strict=True)), PUBLISHED)


def _listed(archive: Path, extents: dict[TrackKey, Extent]) -> Iterator[Reject]:
    """Rejects of all members that are no frames; `extents` gets the size of every track."""
    log.info("voxceleb1: counting the frames of each track in %s", archive.name)
    for member in tars.members(archive):
        try:
            extent = extents.setdefault(_frame(member).track_key, Extent())
            extent.frames += 1
            extent.bytes += member.size
        except Rejected as error:
            yield Reject(printable(member.name), error.kind, error.detail)


def _unusable(extents: dict[TrackKey, Extent], identities: dict[str, str]) -> Iterator[Reject]:
    """Rejects of the tracks that are not read, which leave `extents`."""
    for key, extent in list(extents.items()):
        if key[0] not in identities:
            yield Reject("/".join(key), "identity unknown", f"not in {META}: {extent.frames} frames")
            del extents[key]
        elif extent.bytes > MAX_TRACK_BYTES:
            detail = f"more than {MAX_TRACK_BYTES} bytes: {extent.frames} frames"
            yield Reject("/".join(key), "track too large", detail)
            del extents[key]


def _tracks(archive: Path, extents: dict[TrackKey, Extent], identities: dict[str, str]) -> Iterator[Track | Reject]:
    """Each track when its last frame was read, and it leaves `extents`; one without room waits for the next pass."""
    held: dict[TrackKey, Held] = {}
    waiting: set[TrackKey] = set()
    free_bytes = MAX_HELD_BYTES
    for member in tars.members(archive):
        try:
            frame = _frame(member)
        except Rejected:
            continue  # told already
        key = frame.track_key
        if key not in extents or key in waiting:
            continue
        if key not in held:
            if extents[key].bytes > free_bytes:
                waiting.add(key)
                continue
            free_bytes -= extents[key].bytes
            held[key] = Held(extents[key].frames)
        yield from _held(held[key], frame, member)
        if held[key].left == 0:
            free_bytes += extents.pop(key).bytes
            frames = Frames(tuple(sorted(held.pop(key).by_number.items())))
            yield Track(identities[frame.name], frame.video_id, frame.track, frames)


def _held(track: Held, frame: Frame, member: TarMember) -> Iterator[Reject]:
    """A reject, unless the frame is in `track` now."""
    track.left -= 1
    data = member.read() if member.file else track.by_number.get(_place(safe_path(member.target)).number)
    if data is None:
        yield Reject(member.name, "not a regular file in the archive", "a link to what does not come before it")
    elif frame.number in track.by_number:
        key = "/".join(frame.track_key)
        yield Reject(f"{key}/{frame.number:07d}", "frame number repeated in its track")
    else:
        track.by_number[frame.number] = data


def _frame(member: TarMember) -> Frame:
    """The place of a frame, which may be a link to another frame of its track.

    Raises:
        Rejected: not a frame, or too large.
    """
    frame = _place(safe_path(member.name))
    if member.file is None and (not member.target or _place(safe_path(member.target)).track_key != frame.track_key):
        raise Rejected("not a regular file in the archive")
    check_size(member.size)
    return frame


def _place(name: str) -> Frame:
    *folders, file = name.split("/")
    at = folders.index(ENLARGED) if ENLARGED in folders else 0
    levels = folders[at + 1 :]  # video, and mostly track
    if at < 1 or len(levels) not in (1, 2):
        raise Rejected("not a face frame", f"no <Name>/{ENLARGED}/<video>/<track>/<frame>.jpg")
    track = levels[1] if len(levels) == 2 else NO_TRACK
    return Frame(folders[at - 1], levels[0], track, _number(file))


def _number(file: str) -> int:
    match = _FRAME.fullmatch(file)
    if match is None:
        raise Rejected("not a face frame", "no <number>.jpg")
    return int(match["number"])
