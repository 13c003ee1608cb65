"""Progress of a long loop with its rate and ETA: a live bar on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0

T = TypeVar("T")
Clock = Callable[[], float]


class Pace:
    """Rate of a loop over its last minute, without its first seconds: they start processes and fill queues."""

    STEP_S = 5.0  # the first seconds; between marks; and the shortest time that a rate is taken over
    MARKS = 12
    ITEMS = 3  # fewer say nothing about those that follow

    def __init__(self, now: float) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=self.MARKS)
        self._next = now + self.STEP_S
        self.rate: float | None = None  # items per second; None as long as there is no basis for one

    def add(self, now: float, done: int) -> None:
        """Note how many items are done now."""
        if self._marks:
            then, before = self._marks[0]
            is_known = now - then >= self.STEP_S and done - before >= self.ITEMS
            self.rate = (done - before) / (now - then) if is_known else None
        if now >= self._next:
            self._marks.append((now, done))
            self._next = now + self.STEP_S


def one(_: object) -> int:
    """An item counts for itself."""
    return 1


def track(
    items: Iterable[T],
    total: int | None,
    label: str,
    unit: str,
    *,
    size: Callable[[T], int] = one,
    clock: Clock = time.monotonic,
) -> Iterator[T]:
    """`items` unchanged, with the progress of the loop shown; `size` says for how many an item counts in `total`.

    On a terminal a bar is redrawn in place. Otherwise a line is logged at most every 10 seconds and once at the
    end, so that a log file stays short. A loop that stops early logs no final line. Without `total` there is no ETA,
    and none as long as there is no basis for it.
    """
    if sys.stdout.isatty():
        return _painted(items, total, label, unit, size=size, clock=clock)
    return _logged(items, total, label, unit, size=size, clock=clock)


def describe(done: int, total: int | None, label: str, unit: str, *, elapsed_s: float, rate: float | None) -> str:
    """One line such as `detect: 200/900 images (22 %), 41.3 images/s, 0:17 left`."""
    count = f"{label}: {done} {unit}" if not total else f"{label}: {done}/{total} {unit} ({100 * done // total} %)"
    if rate is None:
        return f"{count}, {_minutes(elapsed_s)} so far"
    return f"{count}, {rate:.1f} {unit}/s, {_left(done, total, rate) or f'{_minutes(elapsed_s)} so far'}"


def describe_end(done: int, total: int | None, label: str, unit: str, *, elapsed_s: float) -> str:
    """One line such as `detect: 900/900 images (100 %), 41.3 images/s, took 0:22`; without a total that was wrong."""
    count = f"{done}/{total} {unit} (100 %)" if total and done == total else f"{done} {unit}"
    return f"{label}: {count}, {done / elapsed_s if elapsed_s > 0 else 0.0:.1f} {unit}/s, took {_minutes(elapsed_s)}"


def _left(done: int, total: int | None, rate: float | None) -> str:
    return f"{_minutes((total - done) / rate)} left" if rate and total and done < total else ""


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _logged(
    items: Iterable[T], total: int | None, label: str, unit: str, *, size: Callable[[T], int], clock: Clock
) -> Iterator[T]:
    started = logged = clock()
    pace = Pace(started)
    done = 0
    for item in items:
        yield item
        done += size(item)
        now = clock()
        pace.add(now, done)
        if now - logged >= LOG_INTERVAL_S and (total is None or done < total):
            log.info("%s", describe(done, total, label, unit, elapsed_s=now - started, rate=pace.rate))
            logged = now
    log.info("%s", describe_end(done, total, label, unit, elapsed_s=clock() - started))


def _painted(
    items: Iterable[T], total: int | None, label: str, unit: str, *, size: Callable[[T], int], clock: Clock
) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[rate]}}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    pace = Pace(clock())
    with Progress(*columns) as bar:
        task = bar.add_task(label, total=total, rate="", left="")
        done = 0
        for item in items:
            yield item
            done += size(item)
            pace.add(clock(), done)
            rate = f"{pace.rate:.1f}/s" if pace.rate else ""
            bar.update(task, completed=done, rate=rate, left=_left(done, total, pace.rate))
