"""Rendering on all cores, one person per job; what a job renders depends on its own arguments alone.

Within `keeping`, every finished job is a file, so that a stopped run continues where it was.
"""

import logging
import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

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
    done = len(list(folder.glob("[0-9]*")))  # jobs finish in order, and a file is there whole or not at all
    if done:
        log.info("%s: continuing after %d of %d people", label, done, len(jobs))
    for number in range(done):
        yield pickle.loads((folder / f"{number:08d}").read_bytes())
    with closing(_rendered(render, jobs[done:])) as results:
        for number, result in enumerate(results, done):
            replace_bytes(folder / f"{number:08d}", pickle.dumps(result))
            yield result


def _rendered(render: Callable[[Job], Result], jobs: Sequence[Job]) -> Generator[Result, None, None]:
    with closing(workers.in_order(render, jobs, workers.available())) as results:
        yield from results
