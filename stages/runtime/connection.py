"""A connection to the Dask cluster that Dask's own configuration names (docs/clusters.md)."""

import asyncio
import logging
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import dask.config
from dask.utils import parse_timedelta
from distributed import Client
from distributed.comm import connect
from distributed.security import Security

from stages.runtime.errors import UserError

TIMEOUT_S = 30


@dataclass(frozen=True)
class Coming:
    """The workers that will join a cluster."""

    workers: int  # 1 if it is not known
    otherwise: str  # what to do when none comes
    wait: str  # for one, such as `10 minutes`
    wait_s: float


@contextmanager
def connected() -> Generator[tuple[Client, Coming], None, None]:
    """A client of the cluster; one that this starts ends with the block.

    Raises:
        UserError: the cluster does not answer, or cannot be started.
    """
    logging.getLogger("distributed").setLevel(logging.WARNING)
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # its traceback of a lost scheduler
    wait, wait_s = _wait()
    if address := dask.config.get("scheduler-address", None):
        asyncio.run(_greet(address))
        otherwise = f"start one in the project's folder: `dask worker {address} --nthreads 1`"
        with closing(_client(address, f"the Dask scheduler at {address}")) as client:
            yield client, Coming(1, otherwise, wait, wait_s)
        return
    name, (fewest, most) = dask.config.get("fabnet.cluster"), _limits()
    with closing(_started(name)) as cluster:
        cluster.adapt(minimum=fewest, maximum=most)  # brings a new worker for each that is lost
        otherwise = f"{name} has asked for them, see its queue and the logs of its jobs"
        with closing(_client(cluster, f"the scheduler of {name}")) as client:
            yield client, Coming(most, otherwise, wait, wait_s)


def _wait() -> tuple[str, float]:
    """How long to wait for a worker, as it is configured and in seconds."""
    wait = str(dask.config.get("fabnet.wait", "10 minutes"))
    try:
        return wait, float(parse_timedelta(wait))
    except (KeyError, ValueError):
        raise UserError(
            f"Dask's configuration: fabnet.wait should be a time such as 10 minutes, found {wait!r}"
        ) from None


def _limits() -> tuple[int, int]:
    """Fewest and most workers that are asked for."""
    found: Any = dask.config.get("fabnet.workers", None)
    fewest, most = (found.get("minimum", 0), found.get("maximum")) if isinstance(found, dict) else (found, found)
    if isinstance(fewest, int) and isinstance(most, int) and 0 <= fewest <= most and most > 0:
        return fewest, most
    raise UserError(
        "Dask's configuration: fabnet.workers should be the number of workers, or {minimum: 0, maximum: 16}, "
        f"found {found!r}"
    )


def _started(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:
        raise UserError(
            "Dask's configuration: fabnet.cluster should be a class such as dask_jobqueue.SLURMCluster, with all that "
            f"it needs, found {name!r}: {' '.join(str(error).split())}"
        ) from None


def _client(place: Any, name: str) -> Client:
    try:
        return Client(place, timeout=TIMEOUT_S)
    except OSError:
        raise _silent(name) from None


async def _greet(address: str) -> None:
    """A handshake alone, since `Client` waits without end for one that is not answered.

    Raises:
        UserError: the address is wrong, or nothing answers.
    """
    secured: dict[str, Any] = Security().get_connection_args("client")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            comm = await connect(address, TIMEOUT_S, **secured)
        comm.abort()
    except OSError:
        raise _silent(f"the Dask scheduler at {address}") from None
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise UserError(
            "DASK_SCHEDULER_ADDRESS or Dask's configuration should name a scheduler such as tcp://host:8786, found "
            f"{address!r}: {error}"
        ) from None


def _silent(name: str) -> UserError:
    return UserError(
        f"{name} does not answer within {TIMEOUT_S} s: start it (`dask scheduler`), or take it out of "
        "DASK_SCHEDULER_ADDRESS and Dask's configuration to work on this machine alone"
    )
