"""AffectNet, manually annotated part, as released: unpacked picture folders and two csv lists.

`Manually_Annotated_Images/<folder>/<hash>.<ext>`, `training.csv` and `validation.csv` (mostly under
`Manually_Annotated_file_lists/`). The owners' validation list is the test part; their test set was never released.
Columns: path, face_x, face_y, face_width, face_height (sizes, not a corner), landmarks (one cell, or 136 cells),
expression, valence, arousal. Some copies of a list have no header line.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from fabnet.boxes import Box
from stages.errors import Rejected, UserError
from stages.readers import (
    Face,
    Reject,
    Release,
    cells,
    inside,
    nearest,
    number,
    printable,
    sha256_by_name,
    text_lines,
)

EXPECTED = "Manually_Annotated_Images/ (unpacked) and Manually_Annotated_file_lists/{training,validation}.csv"
UNPACK_ARCHIVES = True
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
DISCARDED = {8: "none", 9: "uncertain", 10: "non-face"}
LABELS: dict[str, pa.DataType] = {"expression": pa.int8()}  # 0..7, the order of EXPRESSIONS

IMAGES = "Manually_Annotated_Images"
FIRST_COLUMN = "subDirectory_filePath"
COLUMNS = (9, 144)  # landmarks in one cell, or in 136


def read(raw: Path) -> Release[Face]:
    """Faces of the validation list, then of the training list; pictures that both hold count as test.

    Of pictures with equal content the first is kept.

    Raises:
        UserError: a list, the picture folder or the manifest is missing, or a list has no lines.
    """
    digests = sha256_by_name(raw)
    images = _nearest(raw, digests, f"{IMAGES}/")
    lines = [
        (part, line)
        for part, name in (("test", "validation.csv"), ("train", "training.csv"))
        for line in _list(raw / _nearest(raw, digests, name))
    ]
    return Release(_items(lines, images, digests), len(lines))


def _nearest(raw: Path, names: Iterable[str], wanted: str) -> str:
    found = nearest(names, wanted)
    if found is None:
        raise UserError(f"{raw} should hold {EXPECTED}: found no {wanted}")
    return found


def _list(path: Path) -> list[str]:
    lines = text_lines(path)
    if not lines:
        raise UserError(f"{path} should list pictures, one a line, found none: fetch it again")
    return lines[1:] if lines and lines[0].startswith(FIRST_COLUMN) else lines


def _items(lines: list[tuple[str, str]], images: str, digests: dict[str, str]) -> Iterator[Face | Reject]:
    first_of: dict[str, str] = {}  # sha256 -> the picture that was kept
    for part, line in lines:
        item = _face(line, part, images)
        if isinstance(item, Reject):
            yield item
        elif item.image not in digests:
            yield Reject(item.sample_id, "no such picture: the list names it, the release does not hold it")
        elif (earlier := first_of.setdefault(digests[item.image], item.sample_id)) != item.sample_id:
            yield Reject(item.sample_id, f"same picture as another: {earlier}")
        else:
            yield item


def _face(line: str, part: str, images: str) -> Face | Reject:
    row = cells(line)
    if len(row) not in COLUMNS:
        return Reject(printable(line[:80]), f"row of another length: {len(row)} columns, expected {COLUMNS}")
    try:
        name = inside(row[0])
    except Rejected as error:
        return Reject(printable(row[0]), str(error))
    code = number(row[-3])
    if code is None or code not in range(11):
        return Reject(name, f"unknown expression code: expected 0 to 10, found {printable(row[-3])!r}")
    if code in DISCARDED:
        return Reject(name, f"labelled {DISCARDED[int(code)]}")
    return Face(name, images + name, part, "", _box(row[1:5]), labels={"expression": int(code)})


def _box(texts: list[str]) -> Box | None:
    """Corner and size as edges; none where a cell is no number or a size is not positive."""
    numbers = [value for text in texts if (value := number(text)) is not None]
    if len(numbers) != 4 or min(numbers[2:]) <= 0:
        return None
    x, y, width, height = numbers
    return x, y, x + width, y + height
