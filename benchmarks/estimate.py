"""Hours of every stage of a paper run, from rates that were measured."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq

from benchmarks import indexes, placeholders
from stages.runtime.params import Params

CORES, GPUS = (2, 16, 64), (1, 8)
UNTRAINED = {"constant", "pca", "random"}  # methods without a training
FRAMES_PER_SAMPLE = 2
UNKNOWN = "not measured"
ASSUMED_STEPS_PER_S = 100.0


@dataclass(frozen=True)
class Rates:
    """What this machine does; None where that was not measured."""

    clip_s: float | None  # of a core: `crop` of a clip
    image_s: float | None  # of a core: `detect` in an image
    pictures_per_s: float | None  # of a core: from JPEG to cut pixels
    split_s: float
    probe_s: float  # of EmotioNet, one method
    hash_mb_per_s: float
    steps_per_s: float | None  # of a GPU, training at 256 px

    @classmethod
    def of(
        cls, results: Path, name: str, seconds: Mapping[str, float], hash_mb_per_s: float, steps_per_s: float | None
    ) -> Self:
        """From the results of machine `name`; the rate of a GPU from those of any machine, unless it is given."""
        here = _rows([results / f"{name}.parquet"])
        everywhere = _rows(sorted(results.glob("*.parquet")))
        trained = [row["ours"] for row in everywhere if row["unit"] == "steps/s" and "256 px, batch 8," in row["what"]]
        return cls(
            _each(here, r"crop of (\d+) clips.* at 1 frames/s"),
            _each(here, r"two passes over (\d+) images"),
            next((row["ours"] for row in here if "cut pixels for a GPU, a core, against 256 px" in row["what"]), None),
            seconds["split"],
            seconds["probe"],
            hash_mb_per_s,
            steps_per_s or max(trained, default=None),
        )


@dataclass(frozen=True)
class Hours:
    """One stage on one machine."""

    step: str
    what: str
    cores: int
    gpus: int
    hours: float | None  # None: a rate was not measured
    limit: str  # what the time is spent on


def hours(params: Params, rates: Rates) -> Iterator[Hours]:
    """Rows for stages on cores alone, then for those on GPUs."""
    tracks, images = indexes.TRACKS, sum(indexes.IMAGES[name] for name in indexes.DETECTED)
    stored_mb = sum(placeholders.STORED_BYTES.values()) / 10**6
    for cores in CORES:
        at_once = min(cores, len(params.methods))
        yield Hours("crop", f"{tracks:,} clips", cores, 0, _hours(rates.clip_s, tracks / cores), "cores")
        yield Hours("detect", f"{images:,} images", cores, 0, _hours(rates.image_s, images / cores), "cores")
        yield Hours("hash", f"{stored_mb / 1000:.0f} GB", cores, 0, stored_mb / rates.hash_mb_per_s / 3600, "one core")
        yield Hours("split", "all frames and faces", cores, 0, rates.split_s / 3600, "one core")
        many = len(params.methods)
        what, spent = f"EmotioNet, {many} methods", rates.probe_s * many / at_once / 3600
        yield Hours("probe", what, cores, 0, spent, "methods at once")
    for gpus in GPUS:
        for cores in CORES:
            yield _training(params, rates, cores, gpus)
            yield _embedding(params, rates, cores, gpus)


def _training(params: Params, rates: Rates, cores: int, gpus: int) -> Hours:
    """All trainings to their last epoch, divided among the GPUs; they wait for cores or GPUs, whichever is slower."""
    steps = {name: _steps(params, name) for name in params.methods if name not in UNTRAINED}
    pictures = FRAMES_PER_SAMPLE * sum(count * _batch(params, name) for name, count in steps.items())
    decoding = _hours(rates.pictures_per_s, pictures / cores, inverse=True)
    total, what = sum(steps.values()), f"{len(steps)} methods, {sum(steps.values()):,} steps"
    computing = _hours(rates.steps_per_s, total / gpus, inverse=True)
    if computing is None:
        example = total / gpus / ASSUMED_STEPS_PER_S / 3600
        return Hours("pretrain", what, cores, gpus, None,
                     f"steps/s {UNKNOWN}: {example:.0f} h at {ASSUMED_STEPS_PER_S:g} steps/s; "
                     f"decoding {_printed(decoding)} h")  # fmt: skip
    slower = computing if decoding is None else max(computing, decoding)
    return Hours("pretrain", what, cores, gpus, slower, "GPUs" if slower == computing else "decoding")


def _embedding(params: Params, rates: Rates, cores: int, gpus: int) -> Hours:
    """Every face once for every method, and the followed sets once for every checkpoint."""
    faces = sum(indexes.IMAGES.values())
    checkpoints = params.pretrain.epochs // params.pretrain.checkpoint_epochs
    followed = sum(indexes.IMAGES[name] for name in params.lists.followed)
    pictures = len(params.methods) * (faces + checkpoints * followed)
    spent = _hours(rates.pictures_per_s, pictures / cores, inverse=True)
    return Hours("embed", f"{pictures:,} pictures", cores, gpus, spent, f"decoding; the GPU's rate {UNKNOWN}")


def _steps(params: Params, method: str) -> int:
    times = params.pretrain.oversample
    drawn = sum(release.identities * times.get(name, 1) for name, release in indexes.RELEASES.items())
    trained = drawn * (1 - params.split.track_val - params.split.track_test)
    epochs = params.refine.epochs if method in params.lists.refined else params.pretrain.epochs
    return epochs * math.ceil(trained * params.pretrain.draws_per_identity / _batch(params, method))


def _batch(params: Params, method: str) -> int:
    return params.method.get(method, {}).get("batch", params.pretrain.batch)


def _hours(rate: float | None, amount: float, *, inverse: bool = False) -> float | None:
    """Of `amount` things that take `rate` seconds each; `inverse`: of which there are `rate` a second."""
    if rate is None:
        return None
    return amount / rate / 3600 if inverse else amount * rate / 3600


def _rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    rows = [row for path in paths if path.exists() for row in pq.read_table(path).to_pylist()]
    return [row for row in rows if row["ours"] is not None]


def _each(rows: Sequence[Mapping[str, Any]], pattern: str) -> float | None:
    """Seconds of one thing, from a row that says how many there were."""
    found = ((re.search(pattern, row["what"]), row["ours"]) for row in rows)
    return next((seconds / int(match[1]) for match, seconds in found if match), None)


def table(rows: Sequence[Hours]) -> str:
    """For people."""
    lines = [f"\n{'stage':<9} {'cores':>5} {'GPUs':>4} {'hours':>12}  what, and what it waits for"]
    lines += [
        f"{row.step:<9} {row.cores:>5} {row.gpus or '':>4} {_printed(row.hours):>12}  {row.what}; {row.limit}"
        for row in rows
    ]
    return "\n".join(lines)


def _printed(hours: float | None) -> str:
    return UNKNOWN if hours is None else f"{hours:,.2f}"
