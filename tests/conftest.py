"""One OpenMP thread, no proxy and no telemetry for every test and what it starts; the longest files of tests first."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.running import surroundings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported: small networks lose more on threads
os.environ.update(surroundings.direct())  # servers of tests are on loopback
os.environ.update(DVC_NO_ANALYTICS="1", DO_NOT_TRACK="1")  # also where a test makes a repository of its own


# They use one Prefect server, which takes longer to start than most of their tests.
WITH_SERVER = {
    f"tests/pipelines/{name}.py"
    for name in (
        "test_ui", "test_reproduce", "test_isolation", "flows/test_embed_videos", "flows/test_stage_health",
        "flows/test_stage_progress",
    )
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, whole runs before all: no process is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[bool, bool, int]:
        waits = item.nodeid.split("::")[0] in WITH_SERVER  # while others work
        return item.path not in slow, not waits, len(item.path.parts)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """As `--dist loadfile`, but the files that use the Prefect server stay together, as the tests of one file do."""
    from xdist.scheduler import LoadFileScheduling

    class TogetherWithServer(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "a Prefect server" if file in WITH_SERVER else file

    return TogetherWithServer(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture
def sigint_is_heard() -> Iterator[None]:
    """What runs in the background of a script ignores SIGINT, and its children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
