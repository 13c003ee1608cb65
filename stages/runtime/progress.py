"""Progress of a long loop with its rate and ETA: a live bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0

T = TypeVar("T")


def track(
    items: Iterable[T], total: int | None, label: str, unit: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """`items` unchanged, with the progress of the loop shown.

    On a terminal a bar is redrawn in place. Otherwise a line is logged at most every 10 seconds and once at the
    end, so that a log file stays short. A loop that stops early logs no final line. Without `total` there is no ETA.
    """
    if sys.stdout.isatty():
        return _painted(items, total, label, unit)
    return _logged(items, total, label, unit, clock)


def describe(done: int, total: int | None, elapsed_s: float, label: str, unit: str) -> str:
    """One line such as `detect: 200/900 images (22 %), 41.3 images/s, 0:17 left`."""
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    if total is None:
        return f"{label}: {done} {unit}, {rate:.1f} {unit}/s, {_minutes(elapsed_s)} so far"
    share = f" ({100 * done // total} %)" if total else ""
    if done >= total:
        return f"{label}: {done}/{total} {unit}{share}, {rate:.1f} {unit}/s, took {_minutes(elapsed_s)}"
    left = f"{_minutes((total - done) / rate)} left" if rate else "time left unknown"
    return f"{label}: {done}/{total} {unit}{share}, {rate:.1f} {unit}/s, {left}"


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _logged(items: Iterable[T], total: int | None, label: str, unit: str, clock: Callable[[], float]) -> Iterator[T]:
    started = logged = clock()
    done = 0
    for item in items:
        yield item
        done += 1
        now = clock()
        if now - logged >= LOG_INTERVAL_S and (total is None or done < total):
            log.info("%s", describe(done, total, now - started, label, unit))
            logged = now
    log.info("%s", describe(done, total, clock() - started, label, unit))


def _painted(items: Iterable[T], total: int | None, label: str, unit: str) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[rate]}}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(label, total=total, rate="")
        for item in items:
            yield item
            bar.advance(task)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")
