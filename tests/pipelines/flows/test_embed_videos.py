"""*Embed videos* as it is started from Prefect's UI: on a real server, with a real network."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from media_samples import drawn_faces
from own_samples import FACE, image_file
from prefect.client.schemas.objects import State

from pipelines.flows.embed_videos import embed_videos

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    image_file(Path("images", "a.png"), drawn_faces(320, 240, FACE))


def embedded(model: Path) -> State[str]:
    return embed_videos(model=str(model), sources=["images"], output="faces.parquet", return_state=True)


def test_the_faces_of_a_folder_become_one_table(model):
    assert embedded(model).message == "faces.parquet is written"
    (row,) = pq.read_table("faces.parquet").to_pylist()
    assert (row["source"], len(row["embedding"])) == ("images/a.png", 6)


def test_a_model_that_is_missing_fails_with_one_line():
    state = embedded(Path("nowhere"))
    assert state.is_failed()
    assert state.message.startswith(
        "error: nowhere does not exist: name a model file or its folder, or leave out --model"
    )
    assert not Path("faces.parquet").exists()
