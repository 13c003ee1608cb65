"""The manually annotated images of AffectNet, in either release: image folders with two csv lists, or .npy files.

The full release: `Manually_Annotated_Images/<folder>/<hash>.<ext>`, `training.csv` and `validation.csv` (mostly under
`Manually_Annotated_file_lists/`). Columns: path, face_x, face_y, face_width, face_height (sizes, not a corner),
landmarks (one cell, or 136 cells), expression, valence, arousal. Some copies of a list lack the header line.

The small release: `train_set/` and `val_set/`, each with `images/<n>.jpg` and `annotations/<n>_exp.npy`, which contains
the code of the expression as text. It has neither face boxes nor the file names of the full release. If both releases
are present, the full one is read.

The owners' validation list is the test split; their test set was never released.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from tokenize import TokenError

import numpy as np
import pyarrow as pa

from fabnet.boxes import Box
from stages.releases import published
from stages.releases.readers import (
    Face,
    Reject,
    Release,
    annotation,
    cells,
    nearest,
    number,
    printable,
    required,
    safe_path,
    separator,
    sha256_by_name,
    text_lines,
)
from stages.runtime.errors import Rejected, UserError

KIND = "detected"
OWNER = (
    "M. Mahoor, University of Denver: https://mohammadmahoor.com/pages/databases/affectnet/, "
    "where the head of a laboratory signs"
)
EXPECTED = (
    "Manually_Annotated_Images/ and Manually_Annotated_file_lists/{training,validation}.csv, "
    "or train_set/ and val_set/ with images/ and annotations/"
)
UNPACK_ARCHIVES = True
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
DISCARDED = {8: "none", 9: "uncertain", 10: "non-face"}
LABELS: dict[str, pa.DataType] = {"expression": pa.int8()}  # 0..7, the order of EXPRESSIONS
NAMES = {"expression": EXPRESSIONS}

LISTS = {"test": "validation.csv", "train": "training.csv"}
IMAGES = "Manually_Annotated_Images/"
FIRST_COLUMN = "subDirectory_filePath"
COLUMNS = (9, 144)  # landmarks in one cell, or in 136
SMALL = {"test": "val_set", "train": "train_set"}
CODE_FILE = "_exp.npy"
_MAX_CODE_BYTES = 4096  # of such a file; a code takes 136
# What NumPy raises on damaged files; it documents none of them.
_UNREADABLE = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    SyntaxError,
    SystemError,
    TokenError,
    OverflowError,
    MemoryError,
    RecursionError,
)
PUBLISHED = {"test": 3_999, "train": 287_651}  # faces with one of EXPRESSIONS; the full release has 4,000 for the test


def read(raw: Path) -> Release[Face]:
    """Faces of the validation list, then of the training list; images in both are test images.

    Of images with equal content the first is kept.

    Raises:
        UserError: a list, an image folder or the manifest is missing, or a list has no lines.
    """
    digests = sha256_by_name(raw)
    full = located(raw, digests)
    if full is None:
        faces = chain.from_iterable(_small(raw, digests, split) for split in SMALL)
        return Release(_compared(faces, digests), None)
    images, lists = full
    rows = [(split, row) for split, name in lists.items() for row in _list(raw / name)]
    faces = (_face(*row, split, images) for split, row in rows)
    return Release(_compared(faces, digests), len(rows))


def located(raw: Path, names: Collection[str]) -> tuple[str, dict[str, str]] | None:
    """Image folder, and list of each split; None if only the small release is there.

    Raises:
        UserError: a list or an image folder is missing.
    """
    if nearest(names, IMAGES) is None and any(nearest(names, f"{name}/") for name in SMALL.values()):
        for name in SMALL.values():
            required(raw, names, f"{name}/images/", EXPECTED)
        return None
    lists = {split: required(raw, names, name, EXPECTED) for split, name in LISTS.items()}
    return required(raw, names, IMAGES, EXPECTED), lists


def _list(path: Path) -> list[tuple[str, str]]:
    """Lines of images, each with what separates its cells; a spreadsheet may have saved the list again."""
    lines = text_lines(path)
    if not lines:
        raise UserError(f"{path} should list images, one per line, found none: download it again")
    delimiter = separator(lines[0], ",", lambda row: row[:1] == [FIRST_COLUMN] or len(row) in COLUMNS)
    has_header = lines[0].lstrip('"').startswith(FIRST_COLUMN)
    return [(line, delimiter) for line in lines[has_header:]]


def _compared(faces: Iterable[Face | Reject], digests: dict[str, str]) -> Iterator[Face | Reject]:
    """The first face of each image, then what the lists lack."""
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Face | Reject]:
        for item in faces:
            counts.update([item.owner_split] if isinstance(item, Face) else [])
            yield item

    yield from _first_of_each(counted(), digests)
    yield from published.lacking("affectnet", counts, PUBLISHED)


def _first_of_each(faces: Iterable[Face | Reject], digests: dict[str, str]) -> Iterator[Face | Reject]:
    first_of: dict[str, str] = {}  # sha256 -> sample_id of the image that was kept
    for item in faces:
        if isinstance(item, Reject):
            yield item
        elif item.image not in digests:
            yield Reject(item.sample_id, "no such image", "it is in the list but not in the release")
        elif (earlier := first_of.setdefault(digests[item.image], item.sample_id)) != item.sample_id:
            yield Reject(item.sample_id, "same image as another", earlier)
        else:
            yield item


def _face(line: str, delimiter: str, split: str, images: str) -> Face | Reject:
    row = cells(line, delimiter)
    if len(row) not in COLUMNS:
        return Reject(printable(line[:80]), "row of another length", f"{len(row)} columns, expected {COLUMNS}")
    try:
        name = safe_path(row[0])
        return Face(name, images + name, split, "", _box(row[1:5]), labels={"expression": _code(row[-3])})
    except Rejected as error:
        return Reject(printable(row[0]), error.kind, error.detail)


def _code(text: str) -> int:
    """0 to 7.

    Raises:
        Rejected: not an expression, or not a code.
    """
    code = number(text)
    if code is None or code not in range(11):
        raise Rejected("unknown expression code", f"expected 0 to 10, found {printable(text[:20])!r}")
    if code in DISCARDED:
        raise Rejected(f"labelled {DISCARDED[int(code)]}")
    return int(code)


def _small(raw: Path, digests: dict[str, str], split: str) -> Iterator[Face | Reject]:
    """One set of the small release, sorted by image; codes without an image come last, as rejects."""
    folder = SMALL[split]
    images = required(raw, digests, f"{folder}/images/", EXPECTED)
    annotations = f"{images.removesuffix('images/')}annotations/"
    codes = {name for name in digests if name.startswith(annotations) and name.endswith(CODE_FILE)}
    for image in sorted(name for name in digests if name.startswith(images)):
        key = f"{folder}/images/{image.removeprefix(images)}"
        code_file = f"{annotations}{PurePosixPath(image).stem}{CODE_FILE}"
        try:
            if code_file not in digests:
                raise Rejected("no annotation", f"an image without its {CODE_FILE} file")
            yield Face(key, image, split, "", labels={"expression": _code(_text(raw / code_file))})
        except Rejected as error:
            yield Reject(key, error.kind, error.detail)
        codes.discard(code_file)
    for name in sorted(codes):
        yield Reject(
            f"{folder}/annotations/{name.removeprefix(annotations)}", "no such image", "a code without its image"
        )


def _text(path: Path) -> str:
    """The only value in a .npy file. Mapping it unpickles nothing and needs no memory for what a header claims.

    Raises:
        Rejected: not a .npy file, far larger than a code, or more or less than one value.
    """
    annotation(path, _MAX_CODE_BYTES)
    path.read_bytes()  # where the disk fails, this is an error; a map would end the process by a signal
    try:
        values = np.lib.format.open_memmap(path, mode="r")
        if values.size == 1:
            return str(values.item())
    except _UNREADABLE:
        pass
    raise Rejected("damaged annotation", f"{path.name} should be a .npy file with one value")


def _box(texts: list[str]) -> Box | None:
    """Corner and size as edges; None if a cell is not a number or a size is not positive."""
    numbers = [value for text in texts if (value := number(text)) is not None]
    if len(numbers) != 4 or min(numbers[2:]) <= 0:
        return None
    x, y, width, height = numbers
    return x, y, x + width, y + height
