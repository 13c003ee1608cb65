"""Rendering on all cores. A unit of work is one person: what is drawn follows from the person's name alone."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeVar

from stages.runtime import progress, workers

Job = TypeVar("Job")
Result = TypeVar("Result")


def render_all(work: Callable[[Job], Result], people: Sequence[Job], label: str) -> Generator[Result, None, None]:
    """`work` on everyone of `people`, in their order, whatever the number of cores."""
    with closing(workers.in_order(work, people, workers.available())) as results:
        yield from progress.track(results, len(people), label, "people")
