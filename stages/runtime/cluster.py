"""Work spread over a Dask cluster: one unit a worker, results in the order of the input.

A worker is a process on any machine that sees the project's folder; one that has another folder, code or version is
sent away before it works. What a lost worker had in hand runs elsewhere.
"""

import logging
import pickle
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from distributed import CancelledError, Client, Future, KilledWorker, TimeoutError, wait

from stages.runtime import connection, limits, remote
from stages.runtime.errors import UserError

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")

WATCH_S = 2.0  # between looks at the workers
IN_FLIGHT = 2  # units per worker that are submitted ahead
REFUSALS = 10  # of one unit by unfit workers, before the run ends
KEPT = "finished parts are kept, the same command continues from there"


@dataclass
class Unit:
    """An input of the work, and its result to be."""

    name: str
    payload: bytes  # the work, the input and the limits, pickled
    future: Future
    refusals: int = 0


def in_order(work: Callable[[In], Out], inputs: Iterable[In], shared: Path) -> Generator[Out, None, None]:
    """`work(x)` for every input, in order, on the workers of the cluster that Dask's configuration names.

    Args:
        work: a function of a module, or a partial one. A worker does one unit at a time.
        inputs: taken as they are needed; a sentence calls one by its `str`.
        shared: a folder that all machines see.

    Raises:
        UserError: no scheduler or worker answers, no worker fits, or a unit needs more memory than they have.
    """
    with connection.connected() as (client, coming), _token(shared) as token:
        crew = Crew(client, coming, token)
        waiting: deque[Unit] = deque()
        try:
            for item in inputs:
                waiting.append(crew.submit(str(item), pickle.dumps((work, item, limits.now()))))
                while len(waiting) >= crew.window:
                    yield crew.result(waiting.popleft())
            while waiting:
                yield crew.result(waiting.popleft())
            crew.look()  # at what happened since
        finally:
            client.cancel([unit.future for unit in waiting])


@dataclass(frozen=True)
class _Call:
    """What unpickles as the result of a call: a worker that lacks the project fails in its task instead of ending."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


class Crew:
    """The workers of a cluster, as this process knows them."""

    def __init__(self, client: Client, coming: connection.Coming, token: Path) -> None:
        """`token`: a new file in the shared folder."""
        self._client: Any = client  # typed for callers that await as well
        self._coming = coming
        self._project = remote.project(token)
        self._hosts: dict[str, str] = {}  # machines of the workers that fit, by address
        self._ready = self._looked = time.monotonic()  # when a worker was last seen that takes units; the last look
        self._told = False
        self.look()

    @property
    def window(self) -> int:
        """Number of units to have in flight."""
        return IN_FLIGHT * max(self._coming.workers, len(self._hosts))

    def submit(self, name: str, payload: bytes) -> Unit:
        """Hand a unit to any worker."""
        return Unit(name, payload, self._sent(payload))

    def result(self, unit: Unit) -> Any:
        """The result of a unit; it is sent again when an unfit worker took it.

        Raises:
            UserError: as `in_order`; and whatever the work raises.
        """
        while True:
            try:
                while not self._is_done(unit.future):
                    pass
                if time.monotonic() - self._looked > WATCH_S:
                    self.look()
                return unit.future.result()
            except (remote.UnfitError, ImportError) as error:
                self.look()
                unit.refusals += 1
                if unit.refusals > REFUSALS:
                    raise UserError(f"{unit.name}: {REFUSALS} Dask workers could not take it, {error}") from None
                unit.future = self._sent(unit.payload)
            except KilledWorker as error:
                address = error.last_worker.address
                raise UserError(
                    f"{unit.name}: each of the {error.allowed_failures + 1} Dask workers that took it died, most "
                    f"likely for lack of memory, the last on {self._hosts.get(address, address)}: start workers with "
                    f"more of it (`--memory-limit`); {KEPT}"
                ) from None
            except CancelledError:
                raise self._lost_scheduler() from None

    def look(self) -> None:
        """Tell which workers came and went; send unfit ones away.

        Raises:
            UserError: no worker is left that fits, none came in time, or the scheduler is lost.
        """
        try:
            present = self._present()
            for address in self._hosts.keys() - present.keys():
                log.warning("lost the Dask worker on %s: what it had in hand runs elsewhere", self._hosts.pop(address))
            self._admit([address for address in present if address not in self._hosts])
        except OSError:
            raise self._lost_scheduler() from None
        self._looked = time.monotonic()
        self._check_patience(present)

    def _present(self) -> Mapping[str, Any]:
        """What the scheduler knows of its workers, by address."""
        asked = self._client.sync(self._client.scheduler.identity, callback_timeout=connection.TIMEOUT_S)
        return asked["workers"]

    def _sent(self, payload: bytes) -> Future:
        call = pickle.dumps(_Call(remote.run_unit, (self._project, payload)))
        return self._client.submit(pickle.loads, call, pure=False)

    def _is_done(self, future: Future) -> bool:
        """Whether it is, after a while."""
        try:
            wait(future, timeout=WATCH_S)
        except TimeoutError:
            self.look()
            return False
        return True

    def _admit(self, new: list[str]) -> None:
        """Check new workers.

        Raises:
            UserError: some do not fit, and there are no others.
        """
        if not new:
            return
        unfit: dict[str, str] = {}
        for address, answer in self._client.run(remote.examine, self._project, workers=new, on_error="return").items():
            if isinstance(answer, OSError):  # lost since
                continue
            host, problem = (address, _failed(answer)) if isinstance(answer, Exception) else answer
            if problem:
                unfit[address] = f"the Dask worker on {host} {problem}"
            else:
                self._hosts[address] = host
        if unfit and not self._hosts:
            raise UserError("\n".join(sorted(set(unfit.values()))))
        for address, sentence in unfit.items():
            log.warning("%s; it is sent away, the others go on", sentence)
            self._client.retire_workers(workers=[address])
        log.info("Dask workers: %d, machines: %d", len(self._hosts), len(set(self._hosts.values())))

    def _check_patience(self, present: Mapping[str, Any]) -> None:
        """Tell once that no worker is ready, and end after the time that Dask's configuration allows."""
        if any(worker["status"] == "running" for worker in present.values()):
            self._ready, self._told = time.monotonic(), False
            return
        lack = "every Dask worker is paused for lack of memory" if present else "no Dask worker is there"
        if time.monotonic() - self._ready > self._coming.wait_s:
            raise UserError(f"{lack} since {self._coming.wait}: {self._coming.otherwise}; {KEPT}")
        if not self._told:
            log.info("%s: waiting up to %s; %s", lack, self._coming.wait, self._coming.otherwise)
            self._told = True

    def _lost_scheduler(self) -> UserError:
        return UserError(f"the Dask scheduler has ended or cannot be reached any more: start it again; {KEPT}")


def _failed(error: Exception) -> str:
    return f"cannot use the project ({error}): start it in the project's folder, from its environment"


@contextmanager
def _token(shared: Path) -> Generator[Path, None, None]:
    """A new file in the folder, by which workers show that they see it."""
    shared.mkdir(parents=True, exist_ok=True)
    path = shared / f"cluster-{uuid.uuid4().hex}"
    path.write_text(path.name, encoding="utf-8")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
