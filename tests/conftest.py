"""One OpenMP thread, no proxy and no telemetry for every test and what it starts; the longest files of tests first."""

import os
import signal
from collections.abc import Iterator

import pytest

from pipelines.running import surroundings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported: small networks lose more on threads
os.environ.update(surroundings.direct())  # servers of tests are on loopback
os.environ.update(DVC_NO_ANALYTICS="1", DO_NOT_TRACK="1")  # also where a test makes a repository of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, whole runs before all: no process is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, len(item.path.parts)))


@pytest.fixture
def sigint_is_heard() -> Iterator[None]:
    """What runs in the background of a script ignores SIGINT, and its children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
