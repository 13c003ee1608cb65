"""Rows of the reference table, as they stand in the CSV files of results/: one for each task of an encoder."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from stages.evaluation import scores
from stages.runtime import plugins
from stages.runtime.errors import UserError
from stages.runtime.files import replace_text
from stages.runtime.params import Name

FOLDER = Path("results")
RENDERED = "synthetic release"  # the pack of every rendered data set
PAIRED = ("linear", "neighbours")  # probes whose rows have differences to the controls; few-shot ones may have them
CONTROLS = ("random", "fabnet")
PROBES = r"linear|neighbours|own_head|[1-9]\d*-shot"


def _like(pattern: str, form: str) -> AfterValidator:
    """Refuse other text than of this form, in words."""

    def check(cell: str) -> str:
        if not re.fullmatch(pattern, cell):
            raise ValueError(f"expected {form}, found {cell!r}")
        return cell

    return AfterValidator(check)


Text = Annotated[str, _like(r".{1,300}", "1 to 300 characters in one line")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Difference = Annotated[Finite | None, BeforeValidator(lambda cell: None if cell == "" else cell)]


class Row(BaseModel):
    """One value with its interval, what it was measured on, and how to repeat it. The fields are the columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pack: Text  # which files of the data set: `synthetic release`, `300-W official`, ...
    dataset: Name  # module of stages/datasets
    task: Name
    split: Annotated[str, _like(r"test(/\w+)?", "`test` or `test/<subset>`")]
    metric: str  # key of scores.METRICS
    probe: Annotated[str, _like(PROBES, "linear, neighbours, own_head or a number of shots such as 5-shot")]
    method: Name  # module of fabnet/pretext
    encoder: Annotated[str, _like(r".{0,100}", "at most 100 characters in one line")]  # if the method is `own`
    part: Annotated[str, _like(r"\w{0,60}", "the name of a part of the embedding, or nothing")]  # empty: all of it
    steps: Annotated[int, Field(ge=0)]  # of training here; 0: none
    size_px: Annotated[int, Field(gt=0)]  # side of the encoder's input
    seeds: Annotated[str, _like(r"\d+( \d+)*", "whole numbers with spaces between them")]  # with spaces between them
    value: Finite
    ci_low: Finite
    ci_high: Finite
    n: Annotated[int, Field(gt=0)]  # test images, or identities; of few-shot probes, draws of training images
    minus_random: Difference = None  # the value minus that of `random`, paired, with its interval
    minus_random_low: Difference = None
    minus_random_high: Difference = None
    minus_fabnet: Difference = None
    minus_fabnet_low: Difference = None
    minus_fabnet_high: Difference = None
    command: Text  # that repeats it, given the pack and the weights
    weights_sha256: Annotated[
        str, _like(r"([0-9a-f]{64})?", "a sha256 of 64 hex digits, or nothing")
    ]  # of supplied weights, else empty
    config_hash: Annotated[str, _like(r"[0-9a-f]{12}", "12 hex digits")]
    commit: Annotated[str, _like(r"[0-9a-f]{12,40}", "12 to 40 hex digits")]

    @model_validator(mode="after")
    def names_are_known(self) -> Self:
        for what, name, known in (
            ("dataset", self.dataset, plugins.names("stages.datasets")),
            ("method", self.method, plugins.names("fabnet.pretext")),
            ("metric", self.metric, list(scores.METRICS)),
        ):
            if name not in known:
                raise ValueError(f"{what} should be one of {', '.join(known)}, found {name!r}")
        return self

    @model_validator(mode="after")
    def intervals_contain_the_value(self) -> Self:
        if not self.ci_low <= self.value <= self.ci_high:
            raise ValueError(
                f"the interval should contain the value {self.value}, found [{self.ci_low}, {self.ci_high}]"
            )
        for control in CONTROLS:
            value, low, high = self.minus(control)
            if value is None and self.method != control and self.probe in PAIRED and not self.part:
                raise ValueError(f"minus_{control} should be given for probe {self.probe}, found nothing")
            if value is not None and (low is None or high is None or not low <= value <= high):
                raise ValueError(f"the interval of minus_{control} should contain {value}, found [{low}, {high}]")
        return self

    @model_validator(mode="after")
    def supplied_weights_are_named(self) -> Self:
        is_supplied = hasattr(plugins.load("fabnet.pretext", self.method), "supplied")
        if is_supplied != bool(self.weights_sha256):
            expected = "the digest of the weight file" if is_supplied else "empty"
            raise ValueError(f"weights_sha256 should be {expected} for method {self.method}")
        if bool(self.encoder) != (self.method == "own"):
            raise ValueError(
                f"encoder should say which one it is if the method is own, else be empty, found {self.encoder!r}"
            )
        return self

    @property
    def key(self) -> tuple[str | int, ...]:
        """What makes it another result than any other one."""
        measured = (self.pack, self.dataset, self.task, self.split, self.metric, self.probe)
        return (*measured, self.method, self.encoder, self.part, self.steps, self.size_px, self.seeds, self.config_hash)

    def minus(self, control: Literal["random", "fabnet"] | str) -> tuple[float | None, float | None, float | None]:
        """The difference to a control, and its interval."""
        name = f"minus_{control}"
        return getattr(self, name), getattr(self, f"{name}_low"), getattr(self, f"{name}_high")


COLUMNS = list(Row.model_fields)


@dataclass(frozen=True)
class Placed:
    """A row and where it stands."""

    row: Row
    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def read_all(folder: Path) -> list[Placed]:
    """The rows of every CSV file of the folder, in the order of file names.

    Raises:
        UserError: one sentence on the first row that is wrong or stands there twice, with file and line.
    """
    placed = [row for path in sorted(folder.glob("*.csv")) for row in read(path)]
    first: dict[tuple[str | int, ...], Placed] = {}
    for row in placed:
        if row.row.key in first:
            raise UserError(f"{row}: the same result is in {first[row.row.key]}: keep one of them")
        first[row.row.key] = row
    return placed


def read(path: Path) -> Iterator[Placed]:
    """The rows of one file.

    Raises:
        UserError: as `read_all`.
    """
    try:
        lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True)
        header = next(lines, [])
        if header != COLUMNS:
            raise UserError(f"{path}, line 1: expected the columns {','.join(COLUMNS)}, found {','.join(header)}")
        for cells in lines:
            yield Placed(_parsed(cells, f"{path}, line {lines.line_num}"), path, lines.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} should be a CSV file in UTF-8: {error}") from None


def _parsed(cells: list[str], place: str) -> Row:
    if len(cells) != len(COLUMNS):
        raise UserError(f"{place}: expected {len(COLUMNS)} values, one for each column, found {len(cells)}")
    try:
        return Row.model_validate(dict(zip(COLUMNS, cells, strict=True)))
    except ValidationError as error:
        raise UserError(f"{place}: {plugins.explain(error)}") from None


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows of one submission, sorted; numbers with six digits."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows([_cell(getattr(row, name)) for name in COLUMNS] for row in sorted(rows, key=lambda row: row.key))
    replace_text(path, text.getvalue())


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
