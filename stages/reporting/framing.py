"""How faces sit in the crops: the rows of FRAMING, and what to set where evaluation differs from training."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import Params


@dataclass(frozen=True)
class Warned:
    """A data set whose faces are larger or smaller in their crops than those of training."""

    dataset: str
    sentence: Markup


def rows(folder: Path, datasets: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of FRAMING, training first.

    Raises:
        UserError: the table is missing or lacks one of the data sets.
    """
    path = folder / "framing.parquet"
    found = tables.read(path, tables.FRAMING).to_pylist()
    if missing := sorted(set(datasets) - {row["dataset"] for row in found}):
        raise UserError(f"{path} should have a row for {missing[0]}: run `dvc repro --force measure`")
    return found


def warned(rows: Sequence[dict[str, Any]], params: Params) -> Iterator[Warned]:
    """Every data set of still images that is apart from training, and the margin that would bring them together."""
    for row in rows:
        if row["is_apart"]:
            yield Warned(row["dataset"], _difference(row) + _advice(row, params))


def _difference(row: dict[str, Any]) -> Markup:
    text = "In <b>{}</b> a face takes {:.2f} of the crop's side, in training {:.2f}: {:.0f} % {}. "
    more = "more" if row["difference"] > 0 else "less"
    trained = row["face_frac"] / (1 + row["difference"])
    return Markup(text).format(row["dataset"], row["face_frac"], trained, abs(100 * row["difference"]), more)


def _advice(row: dict[str, Any], params: Params) -> Markup:
    """A box of side s is cut with a side of s (1 + 2 margin)."""
    name, margin_frac = _margin(row["dataset"], params)
    fitting = ((1 + 2 * margin_frac) * (1 + row["difference"]) - 1) / 2
    if fitting < 0:
        return Markup("No <code>{}</code> is small enough: the box itself is wider than that.").format(name)
    return Markup("<code>{}</code> is {:g}; about {:.2f} brings them together.").format(name, margin_frac, fitting)


def _margin(dataset: str, params: Params) -> tuple[str, float]:
    """The parameter that says how far the box of this data set grows, and its value."""
    box = params.dataset[dataset].index
    if box is None:
        return "detect.margin_frac", params.detect.margin_frac
    return f"dataset.{dataset}.index.margin_frac", box.margin_frac
