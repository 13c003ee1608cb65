"""The tiny repository, and a Prefect server for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_repository

os.environ["PREFECT_HOME"] = str(tiny_repository.ROOT / ".prefect")  # read when prefect is imported


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    root = tmp_path / "tiny"
    root.mkdir()
    tiny_repository.make(root)
    return root


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of a server with a database of its own."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield PREFECT_API_URL.value()
