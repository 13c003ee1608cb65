"""Inputs of a target: mutated seeds, odd structures that Hypothesis draws, and those that atheris guides."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from types import FunctionType
from typing import Any

import hypothesis
import odd_values
from hypothesis import HealthCheck, Phase
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.strategies import SearchStrategy
from mutations import MAX_BYTES, mutated
from target import Target
from workers import Run, given, run


@contextmanager
def ready() -> Iterator[None]:
    """Inside the block Hypothesis has what it needs, so that no process of a run has to make it anew."""
    with tempfile.TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        _give(odd_values.nested, 0, 3, lambda value: None)
        yield


Work = Callable[[bytes], None]
FEW = 12
GUIDED = (
    *(
        "stages.acquisition",
        "stages.datasets",
        "stages.releases",
        "stages.storage",
        "fabnet.inference",
        "fabnet.modules",
    ),
    *("zipfile", "tarfile", "rarfile", "numpy.lib.format"),
)


def mutations(target: Target, first: int, count: int) -> Run:
    """Mutated seeds; each depends on the target and its number alone."""
    return run(target, lambda: islice(_mutated(target, first), count))


def _mutated(target: Target, number: int) -> Iterator[bytes]:
    while True:
        draw = Random(f"{target.name} {number}")
        yield target.finish(mutated(draw.choice(target.seeds), target.seeds, draw), draw)
        number += 1


def structures(target: Target, first: int, count: int) -> Run:
    """Odd structures; of every four, one is mutated on top."""
    return given(target, partial(_drawn, target, first, count))


def _drawn(target: Target, first: int, count: int, work: Work) -> None:
    assert target.odd is not None
    draw = Random(f"{target.name} {first}")

    def each(data: bytes) -> None:
        if draw.random() < 0.25:
            data = mutated(data, target.seeds, draw)
        work(target.finish(data[:MAX_BYTES], draw))

    _give(target.odd(), first, count, each)


def _give(strategy: SearchStrategy[Any], first: int, count: int, work: Callable[[Any], None]) -> None:
    @hypothesis.seed(first)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def each(value: Any) -> None:
        work(value)

    each()


class _InHand:
    """A target that is one of several after the other, so that one process is enough for all."""

    def __init__(self) -> None:
        self.target: Target

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)

    def read(self, data: bytes, folder: Path) -> None:
        own = folder / self.target.name
        own.mkdir(exist_ok=True)
        self.target.read(data, own)


def few(corpora: Sequence[tuple[Target, Sequence[bytes]]]) -> Run:
    """For each target its corpus, all seeds, and a few of the two kinds above."""
    hand: Any = _InHand()
    hand.target = corpora[0][0]

    def give(work: Work) -> None:
        for target, corpus in corpora:
            hand.target = target
            for data in (*corpus, *target.seeds, *islice(_mutated(target, 0), FEW)):
                work(data)
            if target.odd is not None:
                _drawn(target, 0, FEW // 4, work)

    return given(hand, give)


def guided(target: Target, first: int, count: int) -> Run:
    """Inputs that reach new code of the reader, as atheris finds them."""
    return given(target, partial(_guided, target, first, count))


def _guided(target: Target, first: int, count: int, work: Work) -> None:
    import atheris

    for function in _functions():
        atheris.instrument_func(function)
    corpus = Path.cwd().parent / "corpus"
    corpus.mkdir()
    for number, data in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(data)

    def read(data: bytes) -> None:
        work(data)

    options = [
        f"-runs={count}",
        f"-seed={first + 1}",
        f"-max_len={MAX_BYTES}",
        "-timeout=0",
        "-rss_limit_mb=0",
        "-verbosity=0",
    ]
    options += [
        f"-handle_{name}=0"
        for name in ("abrt", "alrm", "bus", "fpe", "ill", "int", "segv", "term", "usr1", "usr2", "xfsz")
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read, custom_mutator=partial(_changed, target))
    atheris.Fuzz()


def _changed(target: Target, data: bytes, most: int, seed: int) -> bytes:
    draw = Random(seed)
    return mutated(data, target.seeds, draw)[:most]


def _functions() -> Iterator[FunctionType]:
    """All functions and methods of the project and of the libraries in Python that it reads with."""
    seen: set[int] = set()
    for name, module in sorted(sys.modules.items()):
        if name.startswith(GUIDED):
            for function in _of(module, name):
                if id(function) not in seen:
                    seen.add(id(function))
                    yield function


def _of(place: Any, module: str) -> Iterator[FunctionType]:
    for value in list(vars(place).values()):
        if isinstance(value, FunctionType) and value.__module__ == module:
            yield value
        elif isinstance(value, type) and value.__module__ == module and value is not place:
            yield from _of(value, module)
