"""`refine` continues a trained network and leaves alone what it holds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from track_samples import METHOD_PARAMS, params, write_tracks

from fabnet.pretext import fabnet_sources
from fabnet.training import train
from stages import pretrain, refine
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import RefineParams
from stages.training import models

SOURCES = {**METHOD_PARAMS, "sources": 2}


def trained(root: Path, method: str = "fabnet") -> Path:
    write_tracks(root)
    pretrain.run(
        method=method,
        seed=0,
        tracks=root / "tracks",
        splits=root / "splits",
        out=root / "start",
        track_sets=["voxceleb1"],
        pretrain=params(),
        settings=METHOD_PARAMS,
        journal=root / "journal",
    )
    return root / "start"


def run(root: Path, out: str = "out", **changes: Any) -> Path:
    arguments: dict[str, Any] = {"method": "fabnet_sources", "settings": SOURCES, "start": root / "start"}
    refine.run(
        seed=0,
        tracks=root / "tracks",
        splits=root / "splits",
        out=root / out,
        track_sets=["voxceleb1"],
        pretrain=params(),
        refine=RefineParams(start="fabnet", epochs=2),
        journal=root / "journal",
        **{**arguments, **changes},
    )
    return root / out


def test_the_encoder_is_trained_and_the_sampler_keeps_its_weights_but_not_its_statistics(tmp_path: Path):
    start, _ = models.load(trained(tmp_path))
    ended, description = models.load(run(tmp_path))
    assert (description.method, description.trained_on, description.steps) == ("fabnet_sources", ("voxceleb1",), 15)
    for key, weight in start.net.sampler.named_parameters():
        assert torch.equal(ended.net.sampler.get_parameter(key), weight), key
    for key, statistics in start.net.sampler.named_buffers():
        assert not torch.equal(ended.net.sampler.get_buffer(key), statistics), key
    assert not torch.equal(ended.encoder[0].weight, start.encoder[0].weight)
    fresh = models.build(fabnet_sources, fabnet_sources.Params(**SOURCES), seed=0, size_px=32)
    assert not torch.equal(ended.net.confidence[2].weight, fresh.net.confidence[2].weight)


def test_before_its_first_step_it_equals_the_network_that_it_starts_from(tmp_path: Path):
    start, _ = models.load(trained(tmp_path))
    net = models.build(fabnet_sources, fabnet_sources.Params(**SOURCES), seed=5, size_px=32)
    fabnet_sources.start_from(net, start)
    frames = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    net.eval()
    with torch.inference_mode():
        single = start.net(frames[:, 1:], frames[:, 0])
        assert torch.equal(net.net(frames[:, 1:], frames[:, 0]), single)
        both = torch.cat([frames[:, 1:], frames[:, 1:]], dim=1)  # a source twice: however it is weighed, the same
        torch.testing.assert_close(net.net(both, frames[:, 0]), single)


def test_a_step_trains_encoder_and_confidence_and_moves_the_samplers_statistics_once_for_each_source():
    net = models.build(fabnet_sources, fabnet_sources.Params(**SOURCES), seed=0, size_px=32)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    batches = [torch.rand(4, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))]
    settings = train.Settings("sgd", 0.1, 0.9, 0.0, 1, plateau_factor=0.1, plateau_patience=1)
    list(
        train.Trainer(net, settings, device=torch.device("cpu")).epochs(
            lambda *_: batches, lambda: batches, lambda: None
        )
    )
    moved = {key for key, weight in net.net.named_parameters() if not torch.equal(weight, before[f"net.{key}"])}
    assert {key.split(".")[0] for key in moved} == {"encoder", "confidence"}
    counters = [value for key, value in net.net.sampler.named_buffers() if key.endswith("num_batches_tracked")]
    assert counters == [SOURCES["sources"]] * len(counters) != []


def test_equal_starts_give_equal_bytes(tmp_path: Path):
    trained(tmp_path)
    one, again = run(tmp_path), run(tmp_path, "again")
    for path in one.rglob("*.safetensors"):
        assert (again / path.relative_to(one)).read_bytes() == path.read_bytes()


def test_a_track_that_is_too_short_for_its_sources_is_a_reject(tmp_path: Path):
    trained(tmp_path)
    write_tracks(tmp_path, short="id1")
    rejects = tables.read(run(tmp_path) / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["key"], row["stage"]) for row in rejects] == [("id1/v1/00001", "refine")]
    assert (rejects[0]["kind"], rejects[0]["detail"]) == ("too few frames", "a sample needs 3, found 1")


@pytest.mark.parametrize(
    ("start", "changes", "sentence"),
    [
        ("random", {}, "fabnet_sources cannot continue .*: it should start from a FAb-Net with one source frame"),
        ("fabnet", {"settings": {**SOURCES, "width": 8}}, "a network of the same size_px, width and embedding"),
        ("fabnet", {"method": "fabnet", "settings": METHOD_PARAMS}, "it does not continue another method"),
    ],
)
def test_a_start_that_does_not_fit_is_a_user_error(tmp_path: Path, start: str, changes: dict[str, Any], sentence: str):
    trained(tmp_path, start)
    with pytest.raises(UserError, match=sentence):
        run(tmp_path, **changes)


def test_the_error_for_a_missing_start_names_the_command_that_makes_it(tmp_path: Path):
    write_tracks(tmp_path)
    with pytest.raises(UserError, match=r"model\.safetensors is missing: run `dvc repro pretrain`"):
        run(tmp_path)
