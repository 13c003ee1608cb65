"""One packaged network with its probes, and the tree of data that it comes from, for all tests of the command line."""

from pathlib import Path

import packaged
import pytest

from fabnet.pretext import fabnet
from stages.runtime import workers


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, embeddings and packages/fabnet-3 of the smallest network."""
    root = tmp_path_factory.mktemp("packaged")
    packaged.make(root, fabnet, {"width": 4, "embedding": 6})
    return root


@pytest.fixture(scope="session")
def model(tree: Path) -> Path:
    return tree / "packages" / "fabnet-3"


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces are detected in this process: others take seconds to start."""
    monkeypatch.setattr(workers, "available", lambda: 1)


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the commands log."""
    caplog.set_level("INFO")
    return caplog
