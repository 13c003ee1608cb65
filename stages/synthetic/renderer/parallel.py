"""Rendering on all cores, one person per job; what a job renders depends on its own arguments alone.

Within `keeping`, every finished job is a file, so that a stopped run continues where it was.
"""

import logging
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from stages.runtime import progress, workers
from stages.runtime.files import replace_bytes

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

_KEPT: ContextVar[Path | None] = ContextVar("kept", default=None)  # folder of finished jobs; None: they are not kept


@contextmanager
def keeping(folder: Path) -> Generator[None, None, None]:
    """Keep the finished jobs of `render_all` in `folder`, and take those that are there already.

    They are read as pickles, and by their number: the folder must belong to the same code, settings and seed.
    """
    token = _KEPT.set(folder)
    try:
        yield
    finally:
        _KEPT.reset(token)


def render_all(render: Callable[[Job], Result], jobs: Sequence[Job], label: str) -> Generator[Result, None, None]:
    """`render(job)` for every job, in the order of `jobs` for any number of cores; progress is shown as `label`."""
    kept = _KEPT.get()
    results = _rendered(render, jobs) if kept is None else _continued(render, jobs, label, kept / label)
    yield from progress.track(results, len(jobs), label, "people")


def _continued(
    render: Callable[[Job], Result], jobs: Sequence[Job], label: str, folder: Path
) -> Generator[Result, None, None]:
    """Results of the jobs that are in `folder`, then those of the others, each once it is there too."""
    done = 0
    for done, result in enumerate(_finished(folder, label, len(jobs)), 1):  # noqa: B007  used below
        yield result
    with closing(_rendered(render, jobs[done:])) as results:
        for number, result in enumerate(results, done):
            replace_bytes(folder / f"{number:08d}", pickle.dumps(result))
            yield result


def _finished(folder: Path, label: str, count: int) -> Iterator[Any]:
    """Results of the first jobs, up to one that is not there or is damaged."""
    names = {path.name for path in folder.glob("[0-9]*")}
    done = next(number for number in range(count + 1) if f"{number:08d}" not in names)
    if done:
        log.info("%s: continuing after %d of %d people", label, done, count)
    for number in range(done):
        try:
            result = pickle.loads((folder / f"{number:08d}").read_bytes())
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError, IndexError):
            log.info("%s: what was kept of person %d is damaged, continuing before it", label, number)
            return
        yield result


def _rendered(render: Callable[[Job], Result], jobs: Sequence[Job]) -> Generator[Result, None, None]:
    with closing(workers.in_order(render, jobs, workers.available())) as results:
        yield from results
