"""Contact sheets of one data set: a PNG with some of the accepted crops and a PNG with some of the rejected images.

Equal input gives equal bytes. The sheets are for people; no program reads them.
"""

import io
import math
import textwrap
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from fabnet.images import Image, resize
from stages.releases.readers import Reject
from stages.runtime.errors import Rejected
from stages.storage import media
from stages.storage.shards import Shards

ACCEPTED, REJECTED = "accepted.png", "rejected.png"

SEED = 2018  # of the random choice; not a parameter, since another choice is not a reason to run a stage again
COLUMNS, ROWS = 8, 5
TILE_PX, GAP_PX, MARGIN_PX, LINE_PX = 120, 12, 16, 14
REASON_LINES, LABEL_LINES = 2, 3  # at most, below a rejected image and an accepted one
HEAD_PX, LINE_CHARACTERS, HEAD_CHARACTERS, HEAD_LINES = 28, 21, 150, 3
DPI = 100
PAPER, EMPTY = 255, 236  # grey levels
MARK = (60, 200, 60)  # RGB, of points and boxes
INK, SOFT = "#222222", "#666666"
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Tile:
    """One image and the lines below it."""

    image: Image | None  # None: it cannot be decoded
    lines: Sequence[str]


def write(
    folder: Path,
    index: pa.Table,
    rejects: Sequence[Reject],
    *,
    dataset: str,
    raw: Path,
    out: Path,
    names: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write both sheets of one data set into `out`.

    Args:
        folder: of the packed crops.
        index: their rows.
        rejects: of this stage.
        dataset: its name.
        raw: folder of the release.
        out: folder of the sheets.
        names: of the classes or of the values of a label column, as in NAMES of the data set's reader.
    """
    rows = index.take(_sample(len(index), COLUMNS * ROWS)).to_pylist()
    with Shards(folder) as shards:
        accepted = [_accepted_tile(row, shards, names or {}) for row in rows]
    out.mkdir(parents=True, exist_ok=True)
    title = f"{dataset}: {len(accepted)} of {len(index)} accepted crops"
    (out / ACCEPTED).write_bytes(sheet(title, [], accepted))
    rejected = [_rejected_tile(reject, raw) for reject in _sampled_rejects(rejects, COLUMNS * ROWS)]
    title = f"{dataset}: {len(rejected)} of {len(rejects)} rejects" if rejects else f"{dataset}: nothing was rejected"
    (out / REJECTED).write_bytes(sheet(title, _counts(rejects), rejected))


def sheet(title: str, notes: Sequence[str], tiles: Sequence[Tile]) -> bytes:
    """A PNG with the title, notes below it, and the tiles in rows."""
    top = MARGIN_PX + HEAD_PX + LINE_PX * len(notes) + (GAP_PX if notes else 0)
    rows = -(-len(tiles) // COLUMNS)
    deepest = max((len(tile.lines) for tile in tiles), default=0)
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + deepest * LINE_PX + GAP_PX
    canvas = np.full((top + rows * step_y + MARGIN_PX, 2 * MARGIN_PX + COLUMNS * step_x - GAP_PX, 3), PAPER, np.uint8)
    texts = [(MARGIN_PX, MARGIN_PX, title, 15.0, INK)]
    texts += [(MARGIN_PX, MARGIN_PX + HEAD_PX + k * LINE_PX, note, 10.5, SOFT) for k, note in enumerate(notes)]
    for number, tile in enumerate(tiles):
        x, y = MARGIN_PX + number % COLUMNS * step_x, top + number // COLUMNS * step_y
        canvas[y : y + TILE_PX, x : x + TILE_PX] = EMPTY if tile.image is None else _fit(tile.image)
        texts += [
            (x, y + TILE_PX + 3 + k * LINE_PX, line, 9.5, SOFT if k else INK) for k, line in enumerate(tile.lines)
        ]
    return _png(canvas, texts)


def _sample(count: int, most: int) -> list[int]:
    """Up to `most` random row numbers below `count`, ascending."""
    return sorted(np.random.default_rng(SEED).choice(count, min(count, most), replace=False).tolist())


def _sampled_rejects(rejects: Sequence[Reject], most: int) -> list[Reject]:
    """Up to `most` random rejects that have an image, taken from all kinds in turn; sorted by kind and key."""
    by_kind: dict[str, list[Reject]] = defaultdict(list)
    with_image = [reject for reject in rejects if reject.image]
    with_image.sort(key=lambda reject: (reject.key, reject.kind, reject.detail))
    for number in np.random.default_rng(SEED).permutation(len(with_image)):
        by_kind[with_image[number].kind].append(with_image[number])
    rounds = zip_longest(*(by_kind[kind] for kind in sorted(by_kind)))
    sampled = [reject for one_of_each in rounds for reject in one_of_each if reject is not None][:most]
    return sorted(sampled, key=lambda reject: (reject.kind, reject.key))


def _counts(rejects: Sequence[Reject]) -> list[str]:
    """Lines with the number of rejects of each kind; kinds without an image are marked as not shown."""
    counts = Counter((reject.kind, bool(reject.image)) for reject in rejects)
    texts = [
        f"{count} x {kind}" + ("" if has_image else " (not shown)")
        for (kind, has_image), count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    return textwrap.wrap("; ".join(texts), HEAD_CHARACTERS, max_lines=HEAD_LINES, placeholder=" ...")


def _accepted_tile(row: Mapping[str, Any], shards: Shards, names: Mapping[str, Sequence[str]]) -> Tile:
    """A packed crop with its landmarks; below it identity and frame, or labels, split and detection."""
    image = _fit(media.decode_image(shards.read(row["shard"], row["offset"], row["size"])))
    points = np.array(row.get("landmarks") or [], float).reshape(-1, 2)
    scale = TILE_PX / max(row["width_px"], row["height_px"])
    for x, y in (points + 0.5) * scale - 0.5:
        cv2.circle(image, (round(x), round(y)), 1, MARK, -1)
    if "track_id" in row:
        return Tile(image, [_end(row["identity_id"]), _end(row["video_id"]), f"frame {row['frame']}"])
    split = ", ".join(name for name in (row["owner_split"], row["subset"]) if name)
    found = [f"score {row['detector_score']:.2f}, x{2 ** row['upsample']}"] if "detector_score" in row else []
    labels = [word for name, of_label in names.items() for word in label_words(name, row[name], of_label)]
    return Tile(image, [_end(row["sample_id"]), *_lines(labels), *([split] if split else []), *found])


def label_words(label: str, value: Any, names: Sequence[str]) -> list[str]:
    """What a label column says about one image: `happy`; `au1`, `au12`, those that are there; `yaw -12.3°`.

    Args:
        label: name of the column; angles in radians end in `_rad`.
        value: the code of a class, or a list of one value for each name: 1 where something is there, or a number.
        names: of the classes, or of the values.
    """
    if value is None:
        return []
    if isinstance(value, int):
        return [names[value] if value in range(len(names)) else str(value)]
    known = [(name, number) for name, number in zip(names, value, strict=True) if number is not None]
    if all(isinstance(number, int) for _, number in known):
        return [name for name, is_there in known if is_there] or ["none"] * bool(known)
    if label.endswith("_rad"):
        return [f"{name} {math.degrees(number):.1f}°" for name, number in known]
    return [f"{name} {number:.1f}" for name, number in known]


def _lines(words: Sequence[str]) -> list[str]:
    """Words side by side as far as a line holds them; a word is not broken."""
    text = "  ".join(word.replace(" ", NO_BREAK) for word in words)
    return textwrap.wrap(text, LINE_CHARACTERS, break_on_hyphens=False, max_lines=LABEL_LINES, placeholder="  ...")


def _rejected_tile(reject: Reject, raw: Path) -> Tile:
    """The image of the release with its annotated box, and the reason below; grey if it cannot be read."""
    lines = textwrap.wrap(reject.reason, LINE_CHARACTERS, max_lines=REASON_LINES, placeholder=" ...")
    try:
        image = media.decode_image(media.read_file(raw / reject.image))
    except Rejected:
        return Tile(None, [_end(reject.key), *lines])
    scale = TILE_PX / max(image.shape[:2])
    small = _fit(image)
    if reject.box_xyxy_px is not None:
        left, top = _offset(image.shape)
        x0, y0, x1, y1 = (int(np.clip(edge * scale, -TILE_PX, 2 * TILE_PX)) for edge in reject.box_xyxy_px)
        cv2.rectangle(small, (left + x0, top + y0), (left + x1 - 1, top + y1 - 1), MARK, 1)
    return Tile(small, [_end(reject.key), *lines])


def _fit(image: Image) -> Image:
    """The whole image in a square tile, centred on grey."""
    height, width = image.shape[:2]
    scale = TILE_PX / max(height, width)
    small = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    left, top = _offset(image.shape)
    tile = np.full((TILE_PX, TILE_PX, 3), EMPTY, np.uint8)
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile


def _offset(shape: tuple[int, ...]) -> tuple[int, int]:
    """Left and top of an image of that shape inside its tile."""
    scale = TILE_PX / max(shape[:2])
    return (TILE_PX - max(1, round(shape[1] * scale))) // 2, (TILE_PX - max(1, round(shape[0] * scale))) // 2


def _end(name: str) -> str:
    """The end of a name, by which neighbours differ, in ASCII since not every font has other letters."""
    name = name.encode("ascii", "backslashreplace").decode()
    return name if len(name) <= LINE_CHARACTERS else f"...{name[3 - LINE_CHARACTERS :]}"


def _png(canvas: Image, texts: Sequence[tuple[int, int, str, float, str]]) -> bytes:
    """The canvas with texts drawn on it; a text is left and top in px, the words, size in px, colour."""
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(canvas)
    for x, y, text, size_px, colour in texts:
        figure.text(
            x / width, 1 - y / height, text, va="top", fontsize=size_px * 72 / DPI, color=colour, parse_math=False
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
