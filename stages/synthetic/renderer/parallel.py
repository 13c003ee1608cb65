"""Rendering on all cores, one person per job; what a job renders depends on its own arguments alone."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeVar

from stages.runtime import progress, workers

Job = TypeVar("Job")
Result = TypeVar("Result")


def render_all(render: Callable[[Job], Result], jobs: Sequence[Job], label: str) -> Generator[Result, None, None]:
    """`render(job)` for every job, in the order of `jobs` for any number of cores; progress is shown as `label`."""
    with closing(workers.in_order(render, jobs, workers.available())) as results:
        yield from progress.track(results, len(jobs), label, "people")
