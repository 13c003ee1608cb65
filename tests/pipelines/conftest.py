"""The tiny repository, as new or up to date, and a Prefect server for the whole session."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_repository

os.environ["PREFECT_HOME"] = str(tiny_repository.ROOT / ".prefect")  # read when prefect is imported


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied: making one takes as long as a stage."""
    root = tmp_path_factory.mktemp("made")
    tiny_repository.make(root)
    return root


@pytest.fixture(scope="session")
def made_and_run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied: as `dvc repro` leaves it."""
    root = shutil.copytree(made, tmp_path_factory.mktemp("run") / "tiny")
    tiny_repository.dvc(root, "repro")
    return root


@pytest.fixture
def tiny(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "tiny")


@pytest.fixture
def tiny_up_to_date(made_and_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_and_run, tmp_path / "tiny_up_to_date")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of a server with a database of its own."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=300):
        yield PREFECT_API_URL.value()


@pytest.fixture
def sigint_is_heard() -> Iterator[None]:
    """What runs in the background of a script ignores SIGINT, and its children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
