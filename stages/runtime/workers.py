"""Work spread over processes or a cluster, with the results in the order of the input."""

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import cv2

from stages.runtime import limits, quota
from stages.runtime.errors import UserError
from stages.runtime.limits import Limits

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")

Submit = Callable[[In], Callable[[], Out]]  # takes an input, returns a function that waits for the result

NO_SHARED_MEMORY = "/dev/shm cannot be written, where processes share what they wait for"
MOUNT = "mount it, in Docker with `--shm-size 64m`"

IN_FLIGHT = 2  # inputs per process that are submitted ahead


def available() -> int:
    """Number of CPU cores that this process may use, by its affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(cores, quota.cpus()))


def keep_threads() -> None:
    """Let PyTorch, if it is imported, use no more threads than cores: it knows of no quota."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > available():
        torch.set_num_threads(available())


class WithoutPandas(MetaPathFinder):
    """As long as it is in `sys.meta_path`, pandas cannot be imported."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("stages do without pandas", name=fullname)


def keep_out_pandas() -> None:
    """Let pyarrow do without pandas: it imports it, a third of a second, to recognise its objects. No stage has any."""
    import pyarrow as pa  # noqa: PLC0415  the command `fabnet` says which package is missing

    finder = WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])  # the first array of a process is where pyarrow looks for pandas, only once
    finally:
        sys.meta_path.remove(finder)


def alone() -> str:
    """Why work is done in one process whatever the number of cores, and the way out; empty if it is not."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        return f"{NO_SHARED_MEMORY} ({error.strerror}): {MOUNT}"
    return ""


def in_order(
    work: Callable[[In], Out], inputs: Iterable[In], processes: int, *, shared: Path | None = None
) -> Generator[Out, None, None]:
    """`work(x)` for every input, in order; one process per core, each with a single OpenCV thread.

    With one input or one process, the work is done in this process, as it is without shared memory, which processes
    need to wait for each other. Inputs are taken as they are needed, so they may be large. With `shared`, a folder
    that all machines of a cluster see, the work runs on the cluster that Dask's configuration names, if it names one;
    a sentence calls an input by its `str`.

    Raises:
        UserError: a process died, mostly for lack of memory; or the cluster cannot do the work.
    """
    remaining = iter(inputs)
    first = list(islice(remaining, 2))
    if first and shared is not None and cluster_name():
        yield from _on_cluster(work, chain(first, remaining), shared)
        return
    if processes == 1 or len(first) < 2:
        yield from map(work, chain(first, remaining))
        return
    with submitting(work, processes) as submit:
        yield from _windowed(submit, chain(first, remaining), IN_FLIGHT * processes)


@contextmanager
def submitting(work: Callable[[In], Out], processes: int) -> Generator[Submit[In, Out], None, None]:
    """A function that hands an input to the processes.

    With one process, or without shared memory, the work is done in this process when its result is waited for.

    Raises:
        UserError: a process died, mostly for lack of memory.
    """
    started = _pool(processes) if processes > 1 else None
    if started is None:
        yield lambda item: partial(work, item)
        return
    with started as pool:
        try:
            yield lambda item: pool.submit(work, item).result
        except BrokenProcessPool:
            raise UserError(
                f"one of {processes} worker processes died, most likely for lack of memory: "
                "free some memory and run the same command again, finished parts are kept"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def cluster_name() -> str:
    """Address of the scheduler or class of the cluster that Dask's own configuration names; empty without one."""
    try:
        from dask import config  # noqa: PLC0415  of an extra
    except ModuleNotFoundError:
        return os.environ.get("DASK_SCHEDULER_ADDRESS", "")
    return config.get("scheduler-address", None) or config.get("fabnet.cluster", None) or ""


def _pool(processes: int) -> ProcessPoolExecutor | None:
    """New processes, started when they are needed; None, which is logged, if there is no room for what they share."""
    context = multiprocessing.get_context("spawn")  # forking after OpenCV has started threads can hang
    try:
        return ProcessPoolExecutor(processes, context, initializer=_start_process, initargs=(limits.now(),))
    except OSError as error:
        log.warning("working in one process instead of %d: %s (%s)", processes, NO_SHARED_MEMORY, error.strerror)
        return None


def _on_cluster(work: Callable[[In], Out], inputs: Iterable[In], shared: Path) -> Generator[Out, None, None]:
    try:
        from stages.runtime import cluster  # noqa: PLC0415  Dask is an extra
    except ModuleNotFoundError as error:
        raise UserError(
            f"Dask's configuration names the cluster {cluster_name()}, but {error.name} is not installed: "
            "`pip install -c constraints.txt -e '.[cluster]'`"
        ) from None
    yield from cluster.in_order(work, inputs, shared)


def _windowed(submit: Submit[In, Out], inputs: Iterable[In], window: int) -> Iterator[Out]:
    waiting: deque[Callable[[], Out]] = deque()
    for item in inputs:
        waiting.append(submit(item))
        if len(waiting) >= window:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _start_process(now: Limits) -> None:
    limits.use(now)
    keep_out_pandas()
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot stop its processes; they would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
