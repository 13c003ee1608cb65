"""The command line in one process, with its log."""

import pytest

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
