"""A synthetic EmotioNet release: images with exact action units, the automatic list and the manual workbook of 2020.

Writes `dataFile_1000.txt` and further ones (62 TAB separated cells, no header), `EmotioNet_FACS_aws_2020_24600.xlsx`
(a header, cells in single quotes, a last row of NaN) and `images/<folder>/<name>.jpg`. Unannotated units are 999.
Some listed images are missing, and one row has no annotated unit.
"""

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import openpyxl

from stages.synthetic.renderer import expression, files, identity, parallel, photo
from stages.synthetic.renderer.expression import ActionUnits
from stages.synthetic.renderer.photo import PoseRange
from stages.synthetic.renderer.seeds import generator

UNITS = 60
ANNOTATED = (1, 2, 4, 5, 6, 9, 10, 12, 15, 17, 20, 25, 26, 43)  # all other units are always UNKNOWN
UNKNOWN, UNKNOWN_SHARE = 999, 0.08
ACTIVE_SHARE, INTENSITY = 0.28, (0.45, 1.0)
SHUT_EYES = 0.04  # share of images
BOTH_SIDES = {"AU12": ("AU12L", "AU12R"), "AU14": ("AU14L", "AU14R")}
EXCLUDES = {"AU26": "AU17", "AU43": "AU5", "AU20": "AU12"}  # an active unit, and the unit that is then inactive
OWNERS_COPY = "https://s3.us-east-2.amazonaws.com/emotionet/Images"
ORIGINAL = "http://pictures.example/faces"
MANUAL = "EmotioNet_FACS_aws_2020_24600.xlsx"
FIRST_LIST, LISTS = 1000, 2
FIRST_FOLDER = {"automatic": 201, "manual": 1149}
MISSING = 0.01  # share of listed images without a file
POSES = PoseRange()
IMAGES_PER_PERSON = 4
WRITTEN = "2020-01-01T00:00:00Z"  # replaces the time of writing


@dataclass(frozen=True)
class Params:
    automatic: int  # rows of the automatic list
    manual: int


@dataclass(frozen=True)
class Session:
    """Images of one person, in a folder of their own."""

    split: str
    number: int  # of the person within the split
    count: int  # of images


Photo = tuple[str, bytes, list[int]]  # path below `images`, JPEG, 60 units


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    for split, count in (("automatic", params.automatic), ("manual", params.manual)):
        sessions = [
            Session(split, number, min(IMAGES_PER_PERSON, count - start))
            for number, start in enumerate(range(0, count, IMAGES_PER_PERSON))
        ]
        rendered = parallel.render_all(partial(_render_session, seed=seed), sessions, f"synthetic emotionet, {split}")
        photos = list(chain.from_iterable(rendered))
        order = generator(seed, "emotionet", split, "gone").permutation(count).tolist()
        missing = set(order[: max(1, round(MISSING * count))])
        for number, (name, image, _) in enumerate(photos):
            if number not in missing:
                files.write(folder / "images" / name, image)
        if split == "manual":
            files.write(folder / MANUAL, _workbook(photos))
        else:
            _write_lists(folder, photos)


def merge_sides(au: ActionUnits) -> dict[str, float]:
    """Intensity by unit, with `AU12` for both of its sides."""
    merged = {name: max(au[side] for side in sides) for name, sides in BOTH_SIDES.items()}
    return {name: value for name, value in au.items() if name[-1] not in "LR"} | merged


def draw_units(rng: np.random.Generator) -> ActionUnits:
    """Random action units, independent of each other except for EXCLUDES, clearly active or 0."""
    au = expression.action_units({})
    active = {f"AU{unit}" for unit in ANNOTATED if rng.random() < (SHUT_EYES if unit == 43 else ACTIVE_SHARE)}
    for name in sorted(active - {other for unit, other in EXCLUDES.items() if unit in active}):
        intensity = float(rng.uniform(*INTENSITY))
        for side in BOTH_SIDES.get(name, (name,)):
            au[side] = intensity
    return au


def _render_session(session: Session, seed: int) -> list[Photo]:
    key = (seed, "emotionet", session.split, session.number)
    person = identity.draw(generator(*key))
    folder = f"N_{FIRST_FOLDER[session.split] + session.number:010d}"
    photos: list[Photo] = []
    for number in range(session.count):
        rng = generator(*key, number)
        au = draw_units(rng)
        frame = photo.of_action_units(person, rng, au=au, pose=POSES.draw(rng), camera=photo.draw_camera(rng))
        photos.append((f"{folder}/{folder}_{number + 1:05d}.jpg", files.jpeg(frame.image), _codes(au, rng)))
    return photos


def _codes(au: ActionUnits, rng: np.random.Generator) -> list[int]:
    """60 units as 0, 1 or 999."""
    intensity = merge_sides(au)
    codes = [UNKNOWN] * UNITS
    for unit in ANNOTATED:
        if rng.random() >= UNKNOWN_SHARE:
            codes[unit - 1] = int(intensity[f"AU{unit}"] > 0)
    return codes


def _urls(name: str) -> tuple[str, str]:
    return f"{OWNERS_COPY}/{name}", f"{ORIGINAL}/{name.split('/')[1]}"


def _write_lists(folder: Path, photos: Sequence[Photo]) -> None:
    """The rows of `photos` in several files; the last row has no annotated unit."""
    rows = ["\t".join((*_urls(name), *map(str, codes))) for name, _, codes in photos[:-1]]
    rows.append("\t".join((*_urls(photos[-1][0]), *[str(UNKNOWN)] * UNITS)))
    per_list = -(-len(rows) // LISTS)
    for number in range(LISTS):
        of_list = rows[number * per_list : (number + 1) * per_list]
        files.write_lines(folder / f"dataFile_{FIRST_LIST + number}.txt", of_list)


def _workbook(photos: Sequence[Photo]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["URL", "URL orig", *(f"'AU {unit}'" for unit in range(1, UNITS + 1))])
    for name, _, codes in photos:
        sheet.append([*(f"'{url}'" for url in _urls(name)), *codes])
    sheet.append(["nan"] * (UNITS + 2))
    file = io.BytesIO()
    book.save(file)
    return _undated(file.getvalue())


def _undated(data: bytes) -> bytes:
    """The same workbook without the time of writing."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as dated, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in dated.infolist():
            content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", WRITTEN.encode(), dated.read(info))
            archive.writestr(zipfile.ZipInfo(info.filename, files.ZIP_EPOCH), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()
