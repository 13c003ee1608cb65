"""VoxCeleb1 as extracted face frames: `dense-face-frames.tar.gz` or `zippedFaces.tar.gz`, and `vox1_meta.csv`.

Frames are <Name>/1.6/<video>/<track>/<frame>.jpg; the second archive has no track level, so that its "track" is the
whole video and may contain several shots. Frame numbers count at 25 fps. <Name> is the `VGGFace1 ID` of the TAB
separated csv, which maps it to the VoxCeleb1 ID.
"""

import logging
from collections.abc import Collection, Iterator
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa

from stages.releases.archives import tar_members
from stages.releases.readers import Frames, Reject, Release, Track, incomplete, records

log = logging.getLogger(__name__)

KIND = "track"
OWNER = "the VGG, University of Oxford: form at https://mm.kaist.ac.kr/datasets/voxceleb"
EXPECTED = "dense-face-frames.tar.gz (or zippedFaces.tar.gz) and vox1_meta.csv"
LABELS: dict[str, pa.DataType] = {}

META = "vox1_meta.csv"
ARCHIVES = ("dense-face-frames.tar.gz", "dense-face-frames.tar", "zippedFaces.tar.gz", "zippedFaces.tar")
ENLARGED = "1.6"  # folder named after the factor by which the owners enlarged the face box
NO_TRACK = "0"  # track of archives without a track level
MAX_TRACK_BYTES = 2**30


class Frame(NamedTuple):
    """One member of the archive."""

    name: str
    video_id: str
    track: str
    number: int
    data: bytes

    @property
    def track_key(self) -> tuple[str, str, str]:
        return self.name, self.video_id, self.track


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
    present: set[str] = set()
    frames = (_frame(*member) if isinstance(member, tuple) else member for member in tar_members(archive))
    for key, group in groupby(frames, lambda item: item.track_key if isinstance(item, Frame) else None):
        if key is None:
            yield from (item for item in group if isinstance(item, Reject))
        else:
            yield from _track((item for item in group if isinstance(item, Frame)), identities)
            present.add(key[0])
    for name, identity in sorted(identities.items()):
        if name not in present:
            yield Reject(identity, "no tracks in the release", f"listed in {META}")


def _track(frames: Iterator[Frame], identities: dict[str, str]) -> Iterator[Track | Reject]:
    first = next(frames)
    key = "/".join(first.track_key)
    if first.name not in identities:
        yield Reject(key, "identity unknown", f"not in {META}")
        return
    by_number: dict[int, bytes] = {}
    free_bytes = MAX_TRACK_BYTES
    for frame in chain([first], frames):
        free_bytes -= len(frame.data)
        if free_bytes < 0:
            yield Reject(key, "track too large", f"more than {MAX_TRACK_BYTES} bytes")
            return
        if frame.number in by_number:
            yield Reject(f"{key}/{frame.number:07d}", "frame number repeated in its track")
        by_number.setdefault(frame.number, frame.data)
    frames_by_number = Frames(tuple(sorted(by_number.items())))
    yield Track(identities[first.name], first.video_id, first.track, frames_by_number)


def _frame(name: str, data: bytes) -> Frame | Reject | None:
    path = PurePosixPath(name)
    if path.name == "VISITED":
        return None
    parts = path.parts
    at = parts.index(ENLARGED) if ENLARGED in parts else 0
    levels = parts[at + 1 : -1]  # video, and mostly track
    if at < 1 or len(levels) not in (1, 2):
        return Reject(name, "not a face frame", f"no <Name>/{ENLARGED}/<video>/<track>/<frame>.jpg")
    if path.suffix.lower() != ".jpg" or not path.stem.isascii() or not path.stem.isdigit() or len(path.stem) > 9:
        return Reject(name, "not a face frame", "no <number>.jpg")
    return Frame(parts[at - 1], levels[0], levels[1] if len(levels) == 2 else NO_TRACK, int(path.stem), data)
