"""Lines are those of stages/runtime/progress.py itself; the bar is on a real server."""

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from pipelines.flows import stage_progress
from pipelines.flows.stage_progress import StageProgress
from stages.runtime import progress


def line(done: int, total: int | None) -> str:
    if done == total:
        return progress.describe_end(done, total, "embed aflw", "batches", elapsed_s=10.0)
    return progress.describe(done, total, "embed aflw", "batches", elapsed_s=10.0, rate=done / 10.0)


def test_the_share_of_a_loop_is_read_from_its_line():
    assert stage_progress.share(line(1, 4)) == (25.0, "embed aflw: 1/4 batches (25 %), 0.1 batches/s, 0:30 left")
    assert stage_progress.share(line(4, 4))[0] == 100.0


@pytest.mark.parametrize("other", [line(5, None), "epoch 3: loss train 0.1, val 0.2", "10/20", "", "see a: 1/2 b"])
def test_other_lines_have_no_share(other):
    assert stage_progress.share(other) is None


def test_a_key_is_what_prefect_accepts():
    assert stage_progress.artifact_key("progress", "pretrain@fabnet_sources-0") == "progress-pretrain-fabnet-sources-0"


def bars(key: str) -> list[float]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [artifact.data for artifact in found]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_long_stage_has_one_bar_with_few_updates_and_a_short_stage_has_none():
    now = iter([0.0, 1.0, 4.0, 4.0, 9.0])  # seconds: the second line comes too soon after the first

    @flow
    def shown() -> None:
        long = StageProgress("crop@long", clock=lambda: next(now))
        for done in (1, 2, 3):
            long.add(line(done, 4))
        assert bars("progress-crop-long") == [75.0]
        long.end()
        short = StageProgress("crop@short")
        short.add(line(4, 4))
        short.end()

    shown()
    assert bars("progress-crop-long") == [100.0]
    assert Artifact.get("progress-crop-short") is None


def test_a_bar_that_cannot_be_drawn_does_not_end_the_stage(monkeypatch, caplog):
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the server said 500")

    monkeypatch.setattr(stage_progress, "create_progress_artifact", refuse)
    bar = StageProgress("embed")
    bar.add(line(1, 4))
    bar.end()
    assert "progress-embed could not be shown: the server said 500" in caplog.text
