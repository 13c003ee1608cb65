"""The command line in one process, with its log."""

from pathlib import Path

import pytest
import released_samples
from own_samples import crossing, video

from stages.runtime import workers


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces are detected in this process: others take seconds to start."""
    monkeypatch.setattr(workers, "available", lambda: 1)


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the commands log."""
    caplog.set_level("INFO")
    return caplog


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imitation of the authors' file for expressions."""
    return released_samples.file(tmp_path_factory.mktemp("release") / "affectnet_4views.pth", 8)


@pytest.fixture(scope="session")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two people who cross."""
    return video(tmp_path_factory.mktemp("crossed") / "crossed.mp4", list(crossing(30)))
