"""Work in a process of its own, with limits on time and memory: for libraries that damaged files crash or hold up."""

import multiprocessing
import resource
import signal
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from stages.runtime.errors import Rejected

In = TypeVar("In")
Out = TypeVar("Out")

_WAITS_LONGER = 12  # times as long as it may compute: the machine may be busy with something else
_TOO_SLOW = (-signal.SIGXCPU, -signal.SIGALRM)  # exit codes of a process that the system ended for its time
_STATUS = Path("/proc/self/status")


class Limits(NamedTuple):
    """What one item may take."""

    seconds: float = 5.0  # of computing
    memory_bytes: int = 2**30  # beyond what the process has at its start; enforced on Linux alone


LIMITS = Limits()


def each(work: Callable[[In], Out], inputs: Iterable[In], limits: Limits = LIMITS) -> Generator[Out, None, None]:
    """`work(x)` for every input, in order, in one other process.

    Raises:
        Rejected: `work` did, or the process died on this input or of a limit. No further results follow.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(work, there, limits), daemon=True)
    with _without_main():
        process.start()
    there.close()
    try:
        for item in inputs:
            here.send(item)
            yield _answer(here, process, limits)
    finally:
        here.close()
        process.kill()
        process.join()


@contextmanager
def _without_main() -> Generator[None, None, None]:
    """A process that is started meanwhile does not import what `python -m` runs: a stage takes seconds, for PyTorch."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _answer(connection: Connection, process: BaseProcess, limits: Limits) -> Any:
    try:
        result, reason = connection.recv()
    except EOFError:
        process.join()
        if process.exitcode in _TOO_SLOW:
            raise Rejected("takes too long", f"more than {limits.seconds:g} s") from None
        raise Rejected("the library that reads it crashed") from None
    if reason is not None:
        raise Rejected(*reason)
    return result


def _serve(work: Callable[[Any], Any], connection: Connection, limits: Limits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _set(resource.RLIMIT_CORE, 0)
    _limit_memory(limits.memory_bytes)
    with suppress(EOFError, BrokenPipeError):  # whoever asked has gone
        while True:
            item = connection.recv()
            _limit_time(limits.seconds)
            connection.send(_outcome(work, item, limits))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _outcome(work: Callable[[Any], Any], item: Any, limits: Limits) -> tuple[Any, tuple[str, str] | None]:
    try:
        return work(item), None
    except Rejected as error:
        return None, (error.kind, error.detail)
    except MemoryError:
        return None, ("takes too much memory", f"more than {limits.memory_bytes / 2**30:g} GiB")


def _limit_time(seconds: float) -> None:
    """The system ends the process once it has computed for so many seconds more, or waited for far longer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)
    signal.setitimer(signal.ITIMER_REAL, seconds * _WAITS_LONGER)


def _limit_memory(more_bytes: int) -> None:
    """The process gets so much memory beyond what it has."""
    if _STATUS.exists():
        data_kb = next(line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmData:"))
        _set(resource.RLIMIT_DATA, int(data_kb) * 1024 + more_bytes)


def _set(what: int, limit: int) -> None:
    resource.setrlimit(what, (limit, resource.getrlimit(what)[1]))
