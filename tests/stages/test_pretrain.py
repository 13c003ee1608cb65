import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import track_samples
import warm_python
from model_samples import described
from ruamel.yaml import YAML
from torch import Tensor
from track_samples import METHOD_PARAMS, PARAMS, SIDE_PX, params, write_tracks

from fabnet.modules.frame_choice import Choice
from fabnet.pretext import fabnet
from stages import pretrain
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.training import loop, models, watch
from stages.training.trackset import TrackSource

ROOT = Path(__file__).parents[2]
FILES = (
    "checkpoints/00000006.safetensors",
    "history.parquet",
    "model.safetensors",
    "rejects.parquet",
)
HEALTH = {"dead_share", "effective_rank", "knn_track", "never_positive_share", "watched_frames"}


def run(root: Path, out: str = "out", **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "method": "fabnet",
        "seed": 0,
        "track_sets": ["voxceleb1"],
        "pretrain": params(),
        "settings": METHOD_PARAMS,
        "journal": root / "journal",
    }
    pretrain.run(tracks=root / "tracks", splits=root / "splits", out=root / out, **{**arguments, **changes})
    return root / out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def history(folder: Path) -> list[dict[str, Any]]:
    return tables.read(folder / "history.parquet", tables.HISTORY).to_pylist()


def command(root: Path, out: str, *, method: str = "fabnet", seed: str = "0") -> list[str]:
    paths = {"tracks": "tracks", "splits": "splits", "out": out, "journal": "journal", "params": "params.yaml"}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(root / path))]
    return [sys.executable, "-m", "stages.pretrain", method, seed, *options]


def write_params(root: Path, *, method: dict[str, Any] | None = None, **changes: Any) -> None:
    whole = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    whole["pretrain"] = {**PARAMS, "jitter_px": {k: list(v) for k, v in PARAMS["jitter_px"].items()}, **changes}
    whole["methods"] = ["fabnet", "random"]
    whole["method"] = dict.fromkeys(whole["methods"], METHOD_PARAMS) if method is None else method
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(whole, file)


def wait_for_state(journal: Path) -> None:
    """Until the first state of a training is there."""
    deadline = time.monotonic() + 120
    while not list(journal.rglob("state.pt")) and time.monotonic() < deadline:
        time.sleep(0.005)


def test_a_trained_model_has_all_its_files_and_leaves_no_state(tmp_path: Path):
    write_tracks(tmp_path)
    out = run(tmp_path)
    assert sorted(contents(out)) == sorted(FILES)
    assert models.load(out)[1] == described("fabnet", METHOD_PARAMS, seed=0, steps=9)
    assert not list((tmp_path / "journal").rglob("*.pt*"))


def test_history_has_a_row_per_epoch_split_and_metric(tmp_path: Path):
    write_tracks(tmp_path)
    rows = history(run(tmp_path))
    assert {(row["split"], row["metric"]) for row in rows} == {
        ("train", "loss"), ("train", "copy"), ("train", "lr"), ("val", "loss"), ("val", "copy"),
        ("train", "first_loss"), ("val", "still_share"), *(("val", metric) for metric in HEALTH),
    }  # fmt: skip
    (first,) = [row for row in rows if row["metric"] == "first_loss"]
    assert first["epoch"] == 1
    (still,) = [row for row in rows if row["metric"] == "still_share"]
    assert (still["step"], still["value"]) == (0, 0.0)
    assert [(row["epoch"], row["step"]) for row in rows if row["metric"] == "lr"] == [(1, 3), (2, 6), (3, 9)]
    assert len({row["value"] for row in rows if (row["split"], row["metric"]) == ("val", "copy")}) == 1


def test_health_is_measured_at_the_start_at_every_checkpoint_and_at_the_end(tmp_path: Path):
    write_tracks(tmp_path)
    rows = history(run(tmp_path, pretrain=params(val_samples=8)))
    healthy = [row for row in rows if row["metric"] in {*HEALTH, "knn_identity"}]
    assert {(row["epoch"], row["step"], row["split"]) for row in healthy} == {
        (0, 0, "val"),
        (2, 6, "val"),
        (3, 9, "val"),
    }
    assert len(healthy) == 3 * 6
    assert [row["value"] for row in healthy if row["metric"] == "watched_frames"] == [8.0] * 3
    assert all(1 <= row["value"] <= 6 for row in healthy if row["metric"] == "effective_rank")
    assert len({row["value"] for row in healthy if row["metric"] == "effective_rank"}) == 3


def test_the_health_at_the_start_is_that_of_the_untrained_encoder_for_every_method(tmp_path: Path):
    write_tracks(tmp_path)
    settings = {**METHOD_PARAMS, "sources": 3}
    starts = [
        {row["metric"]: row["value"] for row in history(out) if row["epoch"] == 0}
        for out in (run(tmp_path), run(tmp_path, "sources", method="fabnet_sources", settings=settings))
    ]
    assert starts[0] == starts[1]


def test_a_collapsed_encoder_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_tracks(tmp_path)
    caplog.set_level(logging.INFO)
    emptying = params(optimiser="sgd", momentum=0.0, lr=1e-3, weight_decay=1e3, val_samples=16)  # weights become 0
    run(tmp_path, pretrain=emptying)
    lost = "warning: pretrain fabnet-0 has collapsed after 9 steps: the effective rank is 1.0, below 3"
    assert [message for message in caplog.messages if message.startswith("warning")][-1] == lost
    assert any(
        message.startswith("health of pretrain fabnet-0 after 9 steps: watched frames 16,")
        for message in caplog.messages
    )


def test_a_training_that_is_well_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_tracks(tmp_path)
    run(tmp_path, pretrain=params(val_samples=16))
    assert not caplog.messages  # of the level of warnings


def write_frames_of_one_colour(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_samples, "frame_image", lambda *_: np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8))
    write_tracks(root)


def test_constant_frames_are_told_at_the_start_and_their_loss_after_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_frames_of_one_colour(tmp_path, monkeypatch)
    run(tmp_path, pretrain=params(val_samples=16))
    first, second, *others = caplog.messages
    assert first.startswith("warning: pretrain fabnet-0: all frames are the same picture in 100% of the watched tracks")
    assert re.fullmatch(
        r"warning: pretrain fabnet-0: the training loss is \S+, so nothing is left to learn: see whether the frames "
        "are all alike; there is no checkpoint before it",
        second,
    )
    assert all("has collapsed after" in message for message in others)


def test_a_method_that_is_solved_on_constant_frames_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_frames_of_one_colour(tmp_path, monkeypatch)
    settings = {"embedding": 6, "side_px": 16, "frames": 16}
    run(tmp_path, method="pca", settings=settings, pretrain=params(val_samples=16))
    assert caplog.messages[-1] == (
        "warning: pretrain pca-0 has collapsed after 0 steps: the effective rank is 1.0, below 3"
    )


def test_an_exploding_loss_is_told_once_with_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_tracks(tmp_path)
    whole = loop.rows

    def exploding(epoch: Any) -> list[dict[str, Any]]:
        factor = 1e4 if epoch.number > 2 else 1.0
        return [{**row, "value": row["value"] * (factor if row["metric"] == "loss" else 1)} for row in whole(epoch)]

    monkeypatch.setattr(loop, "rows", exploding)
    out = run(tmp_path, pretrain=params(val_samples=16, epochs=4))
    (told,) = (message for message in caplog.messages if "times its lowest" in message)
    assert "lower pretrain.lr; the last checkpoint before it is kept, " in told
    assert told.endswith("checkpoints/00000006.safetensors")
    assert (out / "checkpoints" / "00000006.safetensors").exists()


def test_an_embedding_that_is_not_finite_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tracks(tmp_path)
    monkeypatch.setattr(watch, "embedded", lambda *_: torch.full((4, 6), torch.nan))
    with pytest.raises(UserError, match=r"embedding of the validation split is no longer finite after step 0: lower"):
        run(tmp_path)


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path):
    write_tracks(tmp_path)
    one, again, other = run(tmp_path), run(tmp_path, "again"), run(tmp_path, "other", seed=1)
    assert contents(one) == contents(again)
    assert contents(one)["model.safetensors"] != contents(other)["model.safetensors"]


def test_weights_depend_on_the_seed_alone_and_global_state_stays(tmp_path: Path):
    write_tracks(tmp_path)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = run(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert contents(run(tmp_path, "again")) == contents(one)


def test_an_earlier_model_is_replaced_whole(tmp_path: Path):
    write_tracks(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stray").touch()
    assert sorted(contents(run(tmp_path))) == sorted(FILES)


def test_the_untrained_control_needs_no_tracks_and_is_where_training_starts(tmp_path: Path):
    out = run(tmp_path, method="random")
    control, description = models.load(out)
    assert (description.trained_on, description.steps, history(out)) == ((), 0, [])
    expected = models.build(fabnet, fabnet.Params(**METHOD_PARAMS), seed=0, size_px=32)
    for key, value in control.encoder.state_dict().items():
        assert torch.equal(expected.encoder.state_dict()[key], value)


def test_a_solved_method_uses_one_epoch_of_frames_and_is_reproducible(tmp_path: Path):
    write_tracks(tmp_path)
    settings = {"embedding": 6, "side_px": 8, "frames": 100}
    out, again = (run(tmp_path, name, method="pca", settings=settings) for name in ("out", "again"))
    assert contents(out) == contents(again)
    solved, description = models.load(out)
    assert description.trained_on == ("voxceleb1",)
    found = {(row["step"], row["metric"]) for row in history(out)}
    assert found == {(0, metric) for metric in (*HEALTH, "still_share")}
    axes = solved.components.axes
    assert torch.allclose(axes @ axes.T, torch.eye(6), atol=1e-5)


def test_two_data_sets_train_one_model(tmp_path: Path):
    for dataset in ("voxceleb1", "voxceleb2"):
        write_tracks(tmp_path, dataset, short="id1" if dataset == "voxceleb2" else None)
    out = run(tmp_path, track_sets=["voxceleb1", "voxceleb2"])
    assert models.load(out)[1].trained_on == ("voxceleb1", "voxceleb2")
    rejects = tables.read(out / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["dataset"], row["key"]) for row in rejects] == [("voxceleb2", "id1/v1/00001")]


def test_a_stopped_run_resumes_after_its_last_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tracks(tmp_path)
    whole = run(tmp_path, "whole")
    asked: list[tuple[int, ...]] = []
    draw, record = loop.np.random.default_rng, loop.record

    def noted(state: tuple[int, ...]) -> Any:
        asked.append(state)
        return draw(state)

    def dying(trainer: Any, *rest: Any) -> None:
        record(trainer, *rest)
        if trainer.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "record", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(loop, "record", record)
    monkeypatch.setattr(loop.np.random, "default_rng", noted)
    assert contents(run(tmp_path)) == contents(whole)
    assert asked == [(0,), (0, 3)]  # validation, third epoch


def state_is_empty(state: Path, checkpoint: Path) -> None:
    state.write_bytes(b"")


def state_is_cut(state: Path, checkpoint: Path) -> None:
    state.write_bytes(state.read_bytes()[:-1000])


def checkpoint_is_missing(state: Path, checkpoint: Path) -> None:
    checkpoint.unlink()


def checkpoint_is_cut(state: Path, checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [state_is_empty, state_is_cut, checkpoint_is_missing, checkpoint_is_cut])
def test_a_state_that_is_not_whole_is_put_aside_and_the_training_begins_again(
    damage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    write_tracks(tmp_path)
    whole = run(tmp_path, "whole")
    record = loop.record

    def dying(trainer: Any, *rest: Any) -> None:
        record(trainer, *rest)
        if trainer.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "record", dying)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    (state,), (checkpoint,) = ((tmp_path / "journal").rglob(name) for name in ("state.pt", "00000006.safetensors"))
    damage(state, checkpoint)
    with caplog.at_level(logging.INFO):
        run(tmp_path)
    assert "the state of the training is damaged: it is kept as" in caplog.text
    assert contents(tmp_path / "out") == contents(whole)


@pytest.mark.parametrize(("last", "rest"), [(5, 4), (6, 0)])
def test_a_run_that_is_stopped_within_an_epoch_resumes_at_its_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, rest: int
):
    write_tracks(tmp_path)
    whole = run(tmp_path, "whole")
    samples: list[int] = []
    batches, record = loop.pairs.batches, loop.record

    def noted(drawn: Any, *rest: Any, **named: Any) -> Any:
        samples.append(len(drawn.frames))
        return batches(drawn, *rest, **named)

    def dying(trainer: Any, *rest: Any) -> None:
        record(trainer, *rest)
        if trainer.steps == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "SAVE_MINUTES", 0)
    monkeypatch.setattr(loop, "record", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.setattr(loop, "record", record)
    monkeypatch.setattr(loop.pairs, "batches", noted)
    assert contents(run(tmp_path)) == contents(whole)
    assert samples == [
        4,
        4,
        rest,
        12,
    ]  # validation, the health's frames, what is left of the second epoch, the third epoch


def test_a_state_that_is_not_finite_does_not_replace_one_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tracks(tmp_path)
    losses = fabnet.SingleSource.losses

    def breaking(net: fabnet.SingleSource, frames: Tensor) -> dict[str, Tensor]:
        taken.append(net)
        whole = losses(net, frames)
        return whole if len(taken) < 3 else {**whole, "loss": whole["loss"] / 0}

    taken: list[fabnet.SingleSource] = []
    monkeypatch.setattr(loop, "SAVE_MINUTES", 0)
    monkeypatch.setattr(fabnet.SingleSource, "losses", breaking)
    with pytest.raises(UserError, match="the loss became inf in step 3"):
        run(tmp_path)
    (path,) = (tmp_path / "journal").rglob("state.pt")
    saved = torch.load(path, weights_only=True)["trainer"]
    assert (saved["steps"], saved["begun"], len(saved["losses"]["loss"])) == (2, 2, 2)
    assert all(weight.isfinite().all() for weight in saved["method"].values())


def test_a_gap_longer_than_every_track_is_a_user_error(tmp_path: Path):
    write_tracks(tmp_path)
    sentence = (
        "no track of at least 5 frames in the train split, the longest has 4: lower method.fabnet.gap, found 4, "
        "or raise crop.fps"
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        run(tmp_path, settings={**METHOD_PARAMS, "gap": 4})


def test_a_track_too_short_for_the_gap_becomes_a_reject(tmp_path: Path):
    write_tracks(tmp_path, short="id2")
    out = run(tmp_path, settings={**METHOD_PARAMS, "gap": 3})
    (row,) = tables.read(out / "rejects.parquet").to_pylist()
    assert (row["key"], row["detail"]) == ("id2/v1/00001", "a sample needs 4, found 1")


def test_a_gap_below_a_frame_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match=r"method\.fabnet: gap should be at least 1 frame, found 0"):
        run(tmp_path, settings={**METHOD_PARAMS, "gap": 0})


@pytest.mark.parametrize("part", [(4, 7), (3, 3), (-2, 2)])
def test_parts_that_the_embedding_lacks_are_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: tuple[int, int]
):
    monkeypatch.setattr(fabnet.SingleSource, "parts", {"face": (0, 3), "pose": part})
    sentence = f"within the 6 dimensions of the embedding, found pose from {part[0]} to {part[1]}: raise its embedding"
    with pytest.raises(UserError, match=f"method.fabnet: each part should lie {re.escape(sentence)}"):
        run(tmp_path)


def test_a_batch_with_identities_names_those_of_its_tracks(tmp_path: Path):
    write_tracks(tmp_path)
    source = TrackSource(tmp_path / "tracks", tmp_path / "splits", ["voxceleb1"], PARAMS["jitter_px"])
    frames, device = source.load(2, "pretrain"), torch.device("cpu")
    plain = loop.Batches(frames, Choice(2), params(), device)
    named = loop.Batches(frames, Choice(2), params(), device, with_identities=True)
    for without, (images, identities) in zip(plain.train(0, 1, 1), named.train(0, 1, 1), strict=True):
        assert torch.equal(images, without)
        assert identities.dtype == torch.int64
        assert set(identities.tolist()) <= {0, 1, 2}
    assert [identities.tolist() for _, identities in named.val()] == [[1, 0, 0, 1]]


def test_other_settings_do_not_resume_from_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tracks(tmp_path)
    changed = params(lr=5e-3)
    expected = contents(run(tmp_path, "expected", pretrain=changed))
    record = loop.record

    def dying(*rest: Any) -> None:
        record(*rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "record", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.setattr(loop, "record", record)
    assert contents(run(tmp_path, pretrain=changed)) == expected


SAVES_AFTER_EVERY_STEP = """
import runpy
from stages.training import loop
loop.SAVE_MINUTES = 0
runpy.run_module("stages.pretrain", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_and_writes_the_same_bytes(tmp_path: Path):
    for dataset in ("voxceleb1", "voxceleb2"):
        write_tracks(tmp_path, dataset)
    write_params(tmp_path, epochs=2, draws_per_identity=80)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert warm_python.run("python", *command(tmp_path, "whole")[1:], cwd=ROOT).returncode == 0
    killed = [sys.executable, "-c", SAVES_AFTER_EVERY_STEP, *command(tmp_path, "out")[3:]]
    with subprocess.Popen(
        killed, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        wait_for_state(tmp_path / "journal")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    done = warm_python.run("python", *command(tmp_path, "out")[1:], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    resumed = re.search(r"resuming after step (\d+)", done.stdout)
    assert resumed is not None
    assert 0 < int(resumed[1]) < 60  # steps of an epoch
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"draws_per_identity": 1}, "an epoch of 3 identities x 1 draws does not fill a batch of 4"),
        ({"batch": 13}, "an epoch of 3 identities x 4 draws does not fill a batch of 13"),
        ({"val_samples": 3}, "val_samples should fill a batch of 4, found 3"),
    ],
)
def test_too_few_samples_for_a_batch_are_a_user_error(tmp_path: Path, changes: dict[str, int], sentence: str):
    write_tracks(tmp_path)
    with pytest.raises(UserError, match=sentence):
        run(tmp_path, pretrain=params(**changes))


def test_a_method_that_compares_samples_refuses_batches_of_one(tmp_path: Path):
    write_tracks(tmp_path)
    settings = {"width": 4, "embedding": 8, "projection": 8, "invariance": 1.0, "variance": 1.0, "covariance": 1.0}
    with pytest.raises(UserError, match=r"vicreg needs batches of at least 2, found 1: raise pretrain\.batch"):
        run(tmp_path, method="vicreg", settings=settings, pretrain=params(batch=1))


def test_a_precision_that_the_device_lacks_is_a_user_error_before_tracks_are_read(tmp_path: Path):
    sentence = (
        r"params\.yaml: pretrain\.precision float16 needs a CUDA device, found cpu: set it to bfloat16 or float32"
    )
    with pytest.raises(UserError, match=sentence):
        run(tmp_path, pretrain=params(precision="float16"))


def test_options_of_the_step_reach_the_training(tmp_path: Path):
    write_tracks(tmp_path)
    plain = run(tmp_path, "plain")
    fast = run(tmp_path, pretrain=params(precision="bfloat16", fused=True))
    assert history(fast)[0]["value"] == pytest.approx(history(plain)[0]["value"], rel=0.05)
    assert contents(fast)["model.safetensors"] != contents(plain)["model.safetensors"]


def test_decoding_on_a_gpu_that_is_not_there_ends_before_the_tracks_are_read(tmp_path: Path):
    with pytest.raises(UserError, match=r"needs a CUDA GPU, pretrain\.device is cpu: set pretrain\.jpeg_decoder"):
        run(tmp_path, pretrain=params(jpeg_decoder="torchcodec"))


def test_a_diverging_loss_is_a_user_error(tmp_path: Path):
    write_tracks(tmp_path)
    found = r"the loss became (nan|inf) .*: lower pretrain\.lr, found 1000\.0; there is no checkpoint before it"
    with pytest.raises(UserError, match=found):
        run(tmp_path, pretrain=params(lr=1000.0, weight_decay=1.0, optimiser="sgd"))


def test_the_error_for_an_unknown_method_lists_the_known_ones(tmp_path: Path):
    with pytest.raises(UserError, match=r"no module 'fabmet' in fabnet\.pretext: expected one of .*fabnet, .*random"):
        run(tmp_path, method="fabmet")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"width": 4}, "method.fabnet.embedding is missing"),
        ({**METHOD_PARAMS, "widht": 4}, "method.fabnet.widht is not a known parameter"),
        ({**METHOD_PARAMS, "width": "4"}, "method.fabnet.width should be"),
    ],
)
def test_wrong_settings_of_the_method_are_a_user_error(tmp_path: Path, given: dict[str, Any], sentence: str):
    with pytest.raises(UserError, match=sentence):
        run(tmp_path, settings=given)


def test_a_method_without_settings_ends_the_command_with_a_one_line_error(tmp_path: Path):
    write_params(tmp_path, method={"random": METHOD_PARAMS})
    done = warm_python.run("python", *command(tmp_path, "out")[1:], cwd=ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "method.fabnet is missing" in done.stderr


def test_missing_tracks_are_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match=r"index\.parquet is missing"):
        run(tmp_path)


START = """
import sys
from stages.runtime import command
from stages.training import torchrun
sys.exit(command.guarded(lambda: torchrun.start(2, "stages.pretrain", sys.argv[1:])))
"""


@pytest.mark.slow
def test_a_killed_process_ends_both_and_one_process_continues_to_the_same_history(tmp_path: Path):
    for dataset in ("voxceleb1", "voxceleb2"):
        write_tracks(tmp_path, dataset)
    smooth = {"epochs": 15, "optimiser": "sgd", "lr": 1e-3}  # larger steps make more of a rounding error each time
    write_params(tmp_path, **smooth)
    arguments = command(tmp_path, "out")[3:]
    started = [sys.executable, "-c", START, *arguments]
    with subprocess.Popen(started, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as both:
        wait_for_state(tmp_path / "journal")
        psutil.Process(both.pid).children()[1].kill()
        told = both.communicate(timeout=60)[1]
    assert (both.returncode, told.count("\n")) == (1, 1)
    assert re.search(r"^error: process [01] of 2 was killed, .* continues from the last state", told)
    done = warm_python.run("python", *command(tmp_path, "out")[1:], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "resuming after step" in done.stdout
    whole = run(tmp_path, "whole", track_sets=["voxceleb1", "voxceleb2"], pretrain=params(**smooth))
    found, expected = history(tmp_path / "out"), history(whole)
    assert [row | {"value": None} for row in found] == [row | {"value": None} for row in expected]
    assert [row["value"] for row in found] == pytest.approx([row["value"] for row in expected], rel=1e-3)


@pytest.mark.slow
def test_a_batch_that_does_not_divide_ends_all_processes_with_one_sentence(tmp_path: Path):
    write_tracks(tmp_path)
    write_params(tmp_path, batch=3)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "localhost", "--nproc-per-node", "2"]
    logs = ["--log-dir", str(tmp_path / "logs")]
    started = [sys.executable, *torchrun, *logs, *command(tmp_path, "out")[1:]]
    done = subprocess.run(started, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "a batch of 3 cannot be shared equally by 2 processes: start 1 or make it a multiple of 2" in done.stderr
    assert [path.name for path in (tmp_path / "journal").rglob("*") if path.is_file()] == [".lock"]
