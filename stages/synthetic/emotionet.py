"""The sample's EmotioNet: pictures with exact action units, the automatic list and the manual workbook of 2020.

Writes `dataFile_1000.txt` and further ones (62 TAB separated cells, no header), `EmotioNet_FACS_aws_2020_24600.xlsx`
(a header, cells in single quotes, an empty row's worth of NaN) and `images/<folder>/<name>.jpg`. Units that nobody
looked at are 999. Some listed pictures are gone, and one row knows no unit.
"""

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import openpyxl

from stages.synthetic.studio import crew, expression, files, identity, portrait
from stages.synthetic.studio.expression import ActionUnits
from stages.synthetic.studio.portrait import Turn
from stages.synthetic.studio.seeds import generator

UNITS = 60
JUDGED = (1, 2, 4, 5, 6, 9, 10, 12, 15, 17, 20, 25, 26, 43)  # those that were looked at; of the others nothing is known
UNKNOWN, UNKNOWN_SHARE = 999, 0.08
ACTIVE_SHARE, STRENGTH = 0.28, (0.45, 1.0)
SHUT_EYES = 0.04
BOTH_SIDES = {"AU12": ("AU12L", "AU12R"), "AU14": ("AU14L", "AU14R")}
EXCLUDES = {"AU26": "AU17", "AU43": "AU5", "AU20": "AU12"}  # a unit, and one that cannot be shown with it
OWNERS_COPY = "https://s3.us-east-2.amazonaws.com/emotionet/Images"
ORIGINAL = "http://pictures.example/faces"
MANUAL = "EmotioNet_FACS_aws_2020_24600.xlsx"
FIRST_LIST, LISTS = 1000, 2
FIRST_FOLDER = {"automatic": 201, "manual": 1149}
GONE = 0.01  # share of pictures that are listed and not there
TURN = Turn()
PICTURES_PER_PERSON = 4
WRITTEN = "2020-01-01T00:00:00Z"  # in place of the time of writing


@dataclass(frozen=True)
class Params:
    automatic: int  # rows of the automatic list
    manual: int


@dataclass(frozen=True)
class Sitting:
    """Pictures of one person, who has a folder of their own."""

    split: str
    person: int
    count: int


Shot = tuple[str, bytes, list[int]]  # name below the folders, picture, 60 units


def publish(folder: Path, params: Params, *, seed: int) -> None:
    """Write the release into the empty `folder`."""
    for split, count in (("automatic", params.automatic), ("manual", params.manual)):
        sittings = [
            Sitting(split, person, min(PICTURES_PER_PERSON, count - at))
            for person, at in enumerate(range(0, count, PICTURES_PER_PERSON))
        ]
        rendered = crew.render_all(partial(_portray, seed=seed), sittings, f"sample emotionet, {split}")
        shots = [shot for some in rendered for shot in some]
        gone = set(
            generator(seed, "emotionet", split, "gone").permutation(count)[: max(1, round(GONE * count))].tolist()
        )
        for number, (name, picture, _) in enumerate(shots):
            if number not in gone:
                files.write(folder / "images" / name, picture)
        if split == "manual":
            files.write(folder / MANUAL, _workbook(shots))
        else:
            _write_lists(folder, shots)


def present(au: ActionUnits) -> dict[str, float]:
    """Intensity by unit, `AU12` and not its sides."""
    merged = {name: max(au[side] for side in sides) for name, sides in BOTH_SIDES.items()}
    return {name: value for name, value in au.items() if name[-1] not in "LR"} | merged


def draw_units(rng: np.random.Generator) -> ActionUnits:
    """Every judged unit by itself, clearly shown or not at all."""
    au = expression.action_units({})
    shown = {f"AU{unit}" for unit in JUDGED if rng.random() < (SHUT_EYES if unit == 43 else ACTIVE_SHARE)}
    for name in sorted(shown - {other for unit, other in EXCLUDES.items() if unit in shown}):
        strength = float(rng.uniform(*STRENGTH))
        for side in BOTH_SIDES.get(name, (name,)):
            au[side] = strength
    return au


def _portray(sitting: Sitting, seed: int) -> list[Shot]:
    key = (seed, "emotionet", sitting.split, sitting.person)
    who = identity.draw(generator(*key))
    place = f"N_{FIRST_FOLDER[sitting.split] + sitting.person:010d}"
    shots: list[Shot] = []
    for number in range(sitting.count):
        rng = generator(*key, number)
        au = draw_units(rng)
        frame = portrait.shoot(who, rng, au=au, pose=TURN.draw(rng), camera=portrait.frame_up(rng))
        shots.append((f"{place}/{place}_{number + 1:05d}.jpg", files.jpeg(frame.image), _codes(au, rng)))
    return shots


def _codes(au: ActionUnits, rng: np.random.Generator) -> list[int]:
    """60 units as 0, 1 or 999."""
    shown = present(au)
    codes = [UNKNOWN] * UNITS
    for unit in JUDGED:
        if rng.random() >= UNKNOWN_SHARE:
            codes[unit - 1] = int(shown[f"AU{unit}"] > 0)
    return codes


def _addresses(name: str) -> tuple[str, str]:
    return f"{OWNERS_COPY}/{name}", f"{ORIGINAL}/{name.split('/')[1]}"


def _write_lists(folder: Path, shots: Sequence[Shot]) -> None:
    """The rows in several files; the last row knows no unit."""
    rows = ["\t".join((*_addresses(name), *map(str, codes))) for name, _, codes in shots[:-1]]
    rows.append("\t".join((*_addresses(shots[-1][0]), *[str(UNKNOWN)] * UNITS)))
    per_list = -(-len(rows) // LISTS)
    for number in range(LISTS):
        of_list = rows[number * per_list : (number + 1) * per_list]
        files.write_lines(folder / f"dataFile_{FIRST_LIST + number}.txt", of_list)


def _workbook(shots: Sequence[Shot]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["URL", "URL orig", *(f"'AU {unit}'" for unit in range(1, UNITS + 1))])
    for name, _, codes in shots:
        sheet.append([*(f"'{address}'" for address in _addresses(name)), *codes])
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
