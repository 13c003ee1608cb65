"""The tiny repository, new or up to date, and one Prefect server for the whole session."""

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import packaged
import pytest
import tiny_repository
import warm_python

from fabnet.pretext import fabnet
from pipelines import profile

if TYPE_CHECKING:
    from running_ui import Ui

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
def warm_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow in this process starts DVC at once."""
    from pipelines.dvc import graph

    monkeypatch.setattr(graph, "DVC", (str(warm_python.folder() / "python"), *graph.DVC[1:]))


@pytest.fixture
def tiny(made: Path, tmp_path: Path, warm_dvc: None) -> Path:
    return shutil.copytree(made, tmp_path / "tiny")


@pytest.fixture
def tiny_up_to_date(made_and_run: Path, tmp_path: Path, warm_dvc: None) -> Path:
    return shutil.copytree(made_and_run, tmp_path / "tiny_up_to_date")


@pytest.fixture
def without_a_name(monkeypatch: pytest.MonkeyPatch) -> int:
    """A uid that the system knows by no name, as in a container that was started for some user; HOME is set."""
    uid = next(number for number in range(54_321, 65_000) if not _is_known(number))
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # as if it were not set, and set again as it was after the test
    monkeypatch.setattr(os, "getuid", lambda: uid)
    return uid


def _is_known(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


@pytest.fixture(scope="session")
def ui(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Ui"]:
    """`make ui` over a tiny repository with the parameters of the sample."""
    from running_ui import opened

    root = shutil.copytree(made, tmp_path_factory.mktemp("ui") / "tiny")
    text = profile.text("sample", tiny_repository.ROOT / "profiles")
    (root / "params.yaml").write_text(text, encoding="utf-8")
    with opened(root) as running:
        yield running


@pytest.fixture
def prefect_server(ui: "Ui", monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the server of `ui`, which flows of the test use, and threads that know no settings but the first."""
    from prefect import context
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", f"{ui.url}/api")
    with temporary_settings({PREFECT_API_URL: f"{ui.url}/api"}):
        monkeypatch.setattr(context, "GLOBAL_SETTINGS_CONTEXT", context.get_settings_context())
        yield ui.url
        APILogWorker.drain_all(timeout=30)  # before the server ends


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, embeddings and packages/fabnet-3 of the smallest network."""
    root = tmp_path_factory.mktemp("packaged")
    packaged.make(root, fabnet, {"width": 4, "embedding": 6})
    return root


@pytest.fixture(scope="session")
def model(tree: Path) -> Path:
    return tree / "packages" / "fabnet-3"
