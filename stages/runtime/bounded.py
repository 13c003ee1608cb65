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
from typing import Any, TypeVar

from stages.runtime import limits
from stages.runtime.errors import Rejected, UserError
from stages.runtime.limits import Limits

In = TypeVar("In")
Out = TypeVar("Out")

_WAITS_LONGER = 12  # times as long as it may compute: the machine may be busy with something else
_TOO_SLOW = (-signal.SIGXCPU, -signal.SIGALRM)  # exit codes of a process that the system ended for its time
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGQUIT)  # no library ends by these
_STATUS = Path("/proc/self/status")


def each(work: Callable[[In], Out], inputs: Iterable[In]) -> Generator[Out, None, None]:
    """`work(x)` for every input, in order, in one other process, with `limits.process_s` and `process_mib` for each.

    The limit of memory is what it may take beyond what the process has at its start; Linux alone enforces it.

    No results follow an error.

    Raises:
        Rejected: `work` did, or the process died on this input or of a limit.
        OSError: `work` did.
        UserError: the process was killed from outside, which says nothing of the input.
    """
    now = limits.now()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(work, there, now), daemon=True)
    with _without_main():
        process.start()
    there.close()
    try:
        for item in inputs:
            yield _answer(item, here, process, now.process_s)
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


def _answer(item: Any, connection: Connection, process: BaseProcess, seconds: float) -> Any:
    try:
        connection.send(item)
        result, error = connection.recv()
    except (EOFError, OSError):  # one or the other, by how much of the item and the answer was on its way
        process.join()
        raise _end(item, process.exitcode, seconds) from None
    if error is not None:
        raise error
    return result


def _end(item: Any, exit_code: int | None, seconds: float) -> Rejected | UserError:
    """What the end of the process says of the item."""
    if exit_code in _FROM_OUTSIDE:
        return UserError(
            f"the process that reads {item} was ended by {signal.Signals(-exit_code).name}, if not by you then most "
            "likely for lack of memory: free some memory and run the same command again, finished parts are kept"
        )
    if exit_code in _TOO_SLOW:
        return Rejected("takes too long", f"more than {seconds:g} s")
    return Rejected("the library that reads it crashed")


def _serve(work: Callable[[Any], Any], connection: Connection, now: Limits) -> None:
    limits.use(now)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    limit(resource.RLIMIT_CORE, 0)
    _limit_memory(now.process_bytes)
    with suppress(EOFError, OSError):  # whoever asked has gone
        while True:
            item = connection.recv()
            _limit_time(now.process_s)
            connection.send(_outcome(work, item, now.process_mib))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _outcome(work: Callable[[Any], Any], item: Any, memory_mib: float) -> tuple[Any, Rejected | OSError | None]:
    try:
        return work(item), None
    except (Rejected, OSError) as error:
        return None, error
    except MemoryError:
        return None, Rejected("takes too much memory", f"more than {memory_mib:g} MiB")


def _limit_time(seconds: float) -> None:
    """The system ends the process once it has computed for so many seconds more, or waited for far longer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)
    signal.setitimer(signal.ITIMER_REAL, seconds * _WAITS_LONGER)


def _limit_memory(more_bytes: int) -> None:
    """The process gets so much memory beyond what it has."""
    if _STATUS.exists():
        data_kb = next(line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmData:"))
        limit(resource.RLIMIT_DATA, int(data_kb) * 1024 + more_bytes)


def limit(what: int, most: int) -> None:
    """This process gets at most `most` of a resource of the system; it may have been allowed less before."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
