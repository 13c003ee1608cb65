"""Results of a run as rows for tables: metrics, how faces sit in the crops, and items that stages could not use."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.runtime import tables


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per name in the nested mappings of metric files, one column per file, all in their order."""
    of_file = {Path(path).stem: dict(_leaves(content, "")) for path, content in metrics.items()}
    names = dict.fromkeys(name for values in of_file.values() for name in values)
    return [{"metric": name, **{file: values.get(name) for file, values in of_file.items()}} for name in names]


def reject_rows(outs: Iterable[Path]) -> list[dict[str, Any]]:
    """How many items of each kind each stage could not use, from every rejects table in `outs`, largest count first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for path in _tables(outs, "rejects.parquet"):
        for row in tables.read(path, tables.REJECTS).to_pylist():
            counts[row["stage"], row["dataset"], row["kind"]] += 1
    return [
        {"stage": stage, "dataset": dataset, "kind": kind, "items": items}
        for (stage, dataset, kind), items in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    ]


def framing_rows(outs: Iterable[Path]) -> list[dict[str, Any]]:
    """How large faces are in the crops of every data set, if the stage `measure` has one of `outs`."""
    return [
        {
            "kind": row["kind"],
            "dataset": row["dataset"],
            "face": _rounded(row["face_frac"]),
            "against training": None if row["difference"] is None else f"{row['difference']:+.0%}",
            "warning": "another margin would bring them together" if row["is_apart"] else "",
            "faces": row["n"],
            "without one": row["missed"],
        }
        for path in _tables(outs, "framing.parquet")
        for row in tables.read(path, tables.FRAMING).to_pylist()
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _tables(outs: Iterable[Path], name: str) -> Iterator[Path]:
    for out in outs:
        candidates = [out / name] if out.is_dir() else [out]
        yield from (path for path in candidates if path.name == name and path.exists())


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))
