"""A Dask scheduler and workers on loopback, as processes of their own; and work for them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client, LocalCluster

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass
class Cluster:
    address: str
    folder: Path  # of logs and of what workers spill
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self, *options: str, code: Path = ROOT, cwd: Path = ROOT) -> None:
        """Start another worker with the project's code that lies in `code`."""
        arguments = ["worker", self.address, "--no-dashboard", "--local-directory", str(self.folder / "spilled"),
                     "--nthreads", "1", "--memory-limit", "2GiB", *options]  # fmt: skip
        self.processes.append(start(arguments, self.folder, code, cwd))

    def wait(self, workers: int) -> None:
        """Wait until so many workers are there."""
        with Client(self.address, set_as_default=False) as client:
            while len(client.nthreads()) != workers:
                time.sleep(0.1)

    def tasks(self) -> int:
        """Number of tasks that the scheduler knows."""
        with Client(self.address, set_as_default=False) as client:
            return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


@contextmanager
def running(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    file = folder / "scheduler.json"
    arguments = [
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--dashboard-address",
        "127.0.0.1:0",
        "--scheduler-file",
        str(file),
    ]
    cluster = Cluster("", folder, [start(arguments, folder, ROOT, ROOT)])
    try:
        while not file.exists():
            time.sleep(0.05)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            cluster.address = client.scheduler_info()["address"]
        for _ in range(workers):
            cluster.add_worker()
        cluster.wait(workers)
        yield cluster
    finally:
        scheduler, *others = cluster.processes
        for process in (*others, scheduler):  # a worker without a scheduler takes long to end
            process.terminate()
            process.wait(30)


def start(arguments: list[str], folder: Path, code: Path, cwd: Path) -> subprocess.Popen[bytes]:
    """`dask` with these arguments, which finds the project in `code`, and this module."""
    path = os.pathsep.join(map(str, (code, HERE)))
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"},
            stdout=log,
            stderr=log,
        )


def square(number: int) -> tuple[int, int]:
    """The square, and the process that made it."""
    time.sleep(0.1)
    return number**2, os.getpid()


def threads(_: int) -> tuple[int, int]:
    """Threads that OpenCV and PyTorch use."""
    import cv2
    import torch  # here, so that other work need not wait for it

    return cv2.getNumThreads(), torch.get_num_threads()


def die_once(marker: Path) -> int:
    """Kill the process that first comes to a marker, as a lack of memory does."""
    if marker.exists():
        marker.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return os.getpid()


def die(number: int) -> int:
    """Kill the process at number 1."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class OneMachine(LocalCluster):
    """What Dask's configuration may name."""

    def __init__(self) -> None:
        super().__init__(n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0")
