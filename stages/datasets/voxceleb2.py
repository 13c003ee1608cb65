"""VoxCeleb2 as released: ZIP archives of mp4 clips, the large one in parts, and `vox2_meta.csv`.

`vox2_dev_mp4_partaa`, `..ab`, ... are the parts of one ZIP; `vox2_test_mp4.zip`, whole archives and the older
`vox2_mp4_1.zip`, `.._2.zip`, ... are read as well. Archives of sound and text (`vox2_dev_aac*`, `vox2_dev_txt.zip`)
may be present and are ignored.
A clip is [dev/]mp4/<identity>/<video>/<utterance>.mp4 and is one track. In the csv every comma is preceded by a blank.
"""

import logging
import re
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from stages.releases import published
from stages.releases.archives import ZipMember, ZipSource, zip_members, zip_sources
from stages.releases.readers import Clip, Reject, Release, Track, incomplete, printable, records, safe_path
from stages.runtime.errors import Rejected

log = logging.getLogger(__name__)

KIND = "track"
OWNER = "the VGG, University of Oxford: form at https://mm.kaist.ac.kr/datasets/voxceleb"
EXPECTED = "vox2_dev_mp4_partaa, vox2_dev_mp4_partab, ... (or a whole .zip) and vox2_meta.csv"
LABELS: dict[str, pa.DataType] = {}

META = "vox2_meta.csv"
PUBLISHED = {"clips": 1_128_246, "people with clips": 6_112, f"people in {META}": 6_112}
WITHOUT_CLIPS = r"_(aac|wav|txt)"  # in the names of archives
_CLIP = re.compile(r"(?:.*/)?mp4/(?P<identity>[^/]+)/(?P<video>[^/]+)/(?P<track>[^/]+)\.(?i:mp4)")


def read(raw: Path) -> Release[Track]:
    """Tracks sorted by name within each archive; identities of the csv without tracks come last, as rejects.

    Raises:
        UserError: no archive, a part of one missing or cut short, csv missing or without its header.
    """
    sources = located(raw, [path.name for path in raw.iterdir()])
    rows = list(records(raw / META, ",", ["VoxCeleb2 ID"]))
    listed = {row["VoxCeleb2 ID"] for row in rows if not isinstance(row, Reject)}
    rejects = [row for row in rows if isinstance(row, Reject)]
    items = [*(_track(member) for source in sources for member in zip_members(source)), *rejects]
    present = {item.identity_id for item in items if isinstance(item, Track)}
    items += [Reject(name, "no tracks in the release", f"listed in {META}") for name in sorted(listed - present)]
    if unlisted := sorted(present - listed):
        log.info("voxceleb2: %d identities are not in %s, such as %s", len(unlisted), META, unlisted[0])
    counts = (sum(isinstance(item, Track) for item in items), len(present & listed), len(listed))
    items += published.lacking("voxceleb2", dict(zip(PUBLISHED, counts, strict=True)), PUBLISHED)
    return Release(iter(items), len(items))


def located(raw: Path, names: Collection[str]) -> list[ZipSource]:
    """The archives of clips.

    Raises:
        UserError: there is none, a part of one is missing, or there is no csv.
    """
    sources = zip_sources(raw, skip=WITHOUT_CLIPS)
    if not sources or META not in names:
        raise incomplete(raw, EXPECTED, META if sources else "archive")
    return sources


def _track(member: ZipMember) -> Track | Reject:
    try:
        match = _CLIP.fullmatch(safe_path(member.name))
    except Rejected as error:
        return Reject(printable(member.name), error.kind, error.detail)
    if match is None:
        return Reject(member.name, "not a clip", "no mp4/<identity>/<video>/<utterance>.mp4")
    return Track(match["identity"], match["video"], match["track"], Clip(member.read))
