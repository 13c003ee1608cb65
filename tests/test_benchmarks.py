"""Benchmarks compare ways that give the same, run small as well, and keep what they measured."""

import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import (
    columns,
    cpu_training,
    crop,
    estimate,
    face_indexes,
    former,
    indexes,
    loading,
    original,
    pictures,
    placeholders,
    probing,
    rehearsal,
    releases,
    run,
)
from benchmarks.rows import Measured, Row, SkippedError, apart, peak_gb
from fabnet.training import pairs
from pipelines import profile
from stages.runtime import config, plugins, tables

ROOT = Path(__file__).parents[1]
FRAMES = 30_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes with both ways' splits."""
    made = tmp_path_factory.mktemp("rehearsal")
    columns.write(made, FRAMES)
    columns.split_columns(made)
    columns.split_plainly(made)
    return made


def test_generated_indexes_are_tables_of_tracks_sorted_by_name(folder: Path):
    found = [tables.read(folder / "tracks" / name / "index.parquet", tables.TRACK_FRAMES) for name in columns.JITTER_PX]
    assert sum(map(len, found)) == pytest.approx(FRAMES, rel=0.1)
    for table in found:
        names = table["sample_id"].to_pylist()
        assert names == sorted(set(names))
        for row in table.slice(1000, 20).to_pylist():
            assert row["track_id"].startswith(f"{row['identity_id']}/{row['video_id']}/")
            assert row["sample_id"] == f"{row['track_id']}/{row['frame']:06d}"
        assert pc.min(table.group_by("track_id").aggregate([([], "count_all")])["count_all"]).as_py() >= 2


def test_generated_indexes_are_the_same_bytes_every_time(tmp_path: Path, folder: Path):
    indexes.write_indexes(tmp_path, FRAMES)
    for name in columns.JITTER_PX:
        path = Path(name) / "index.parquet"
        assert (tmp_path / path).read_bytes() == (folder / "tracks" / path).read_bytes()


def test_both_ways_split_into_the_same_bytes(folder: Path):
    for name in columns.JITTER_PX:
        assert (folder / "splits" / f"{name}.parquet").read_bytes() == (
            folder / "plain" / f"{name}.parquet"
        ).read_bytes()


def test_both_ways_load_the_same_tracks(folder: Path):
    ours = columns.source(folder).load(columns.FRAMES, "pretrain")
    plain = former.load(folder / "tracks", folder / "splits", columns.JITTER_PX)
    shards = [ours.places.shards[number] for number in ours.places.shard]
    place = [(*shard, offset) for shard, offset in zip(shards, ours.places.offset.tolist(), strict=True)]
    columns_of_plain = (plain.frames[name].to_pylist() for name in ("dataset", "shard", "offset"))
    others = list(zip(*columns_of_plain, strict=True))
    for split, identities in plain.tracks.items():
        expected = {
            tuple(others[row] for row in rows)
            for videos in identities.values()
            for tracks in videos.values()
            for rows in tracks.values()
        }
        tracks = ours.tracks[split]
        found = zip(tracks.first, tracks.lengths, strict=True)
        assert {tuple(place[first : first + length]) for first, length in found} == expected
        assert len(tracks) == len(identities)
        assert len(tracks.videos) - 1 == sum(map(len, identities.values()))


def test_generated_faces_are_tables_of_their_data_sets_with_both_owners_splits(tmp_path: Path):
    face_indexes.write(tmp_path, 0.002, action_units=11)
    for name, tested in face_indexes.TEST.items():
        schema = tables.faces_schema(plugins.load("stages.datasets", name).LABELS, tables.DETECTION)
        table = tables.read(tmp_path / name / "index.parquet", schema)
        assert len(table) == round(0.002 * indexes.IMAGES[name]) == len(set(table["sample_id"].to_pylist()))
        assert table["owner_split"].to_pylist().count("test") == round(0.002 * tested)
    assert {unit for units in table["action_units"].to_pylist() for unit in units} == {0, 1, None}


def test_the_original_way_has_the_loss_that_ours_has():
    frames = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = original.Training(size_px=32, width=cpu_training.WIDTH, device=cpu_training.CPU)
    ours = cpu_training.our_way(32)  # of the same seed
    for _ in range(2):
        loss = ours(frames)
        theirs.step(frames)
        assert loss == pytest.approx(theirs.losses[-1], rel=1e-3)


@pytest.mark.slow
def test_rendered_clips_can_be_decoded_and_cropped_under_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(releases, "SECONDS", 2.0)
    raw = releases.tracks(tmp_path, clips=1, copies=3)
    assert len(releases.clips_of(raw)) == 3
    assert crop.decode(raw) > 0
    assert apart(crop.prepare, raw, 1.0).value > 0


RATES = estimate.Rates(
    clip_s=0.036,
    image_s=None,
    pictures_per_s=4000.0,
    split_s=7.2,
    probe_s=3600.0,
    hash_mb_per_s=400.0,
    steps_per_s=90.0,
)


def test_hours_are_amounts_by_rates_on_the_cores_and_gpus_that_there_are():
    paper = config.parsed(profile.text("paper", ROOT / "profiles"), "paper")
    hours = {(row.step, row.cores, row.gpus): row for row in estimate.hours(paper, RATES)}
    assert hours["crop", 16, 0].hours == pytest.approx(0.036 * indexes.TRACKS / 16 / 3600)
    assert hours["detect", 16, 0].hours is None
    assert hours["split", 2, 0].hours == hours["split", 64, 0].hours == pytest.approx(0.002)
    assert hours["probe", 64, 0].hours == pytest.approx(1)  # all methods at once
    assert hours["pretrain", 64, 1].hours == pytest.approx(8 * hours["pretrain", 64, 8].hours)
    assert hours["pretrain", 64, 1].limit == "GPUs"
    assert hours["pretrain", 2, 8].limit == "decoding"


def test_a_rate_that_was_not_measured_is_said_and_an_example_given():
    paper = config.parsed(profile.text("paper", ROOT / "profiles"), "paper")
    rates = replace(RATES, steps_per_s=None)
    rows = [row for row in estimate.hours(paper, rates) if row.step == "pretrain"]
    assert all(row.hours is None and "not measured" in row.limit and "at 100 steps/s" in row.limit for row in rows)
    assert "not measured" in estimate.table(rows)


def test_rates_come_from_the_results_of_this_machine(tmp_path: Path):
    rows = [
        Row("crop", "crop of 320 clips of 8 s at 1 frames/s", "s of a processor", "PyAV", 32.0, 40.0),
        Row("detection", "dlib_hog, two passes over 200 images", "s of a processor", "enlarged", 2.0, 8.0),
        Row("detection", "skipped", "", "", skipped="no images"),
    ]
    run.keep(rows, tmp_path / "here.parquet")
    run.keep(
        [Row("gpu_steps", "256 px, batch 8, bf16", "steps/s", "plain", 80.0, 20.0)], tmp_path / "elsewhere.parquet"
    )
    rates = estimate.Rates.of(tmp_path, "here", {"split": 1.0, "probe": 2.0}, 400.0, None)
    assert (rates.clip_s, rates.image_s, rates.pictures_per_s, rates.steps_per_s) == (0.1, 0.01, None, 80.0)
    assert estimate.Rates.of(tmp_path, "here", {"split": 1.0, "probe": 2.0}, 400.0, 10.0).steps_per_s == 10


@pytest.mark.slow
def test_a_small_rehearsal_measures_every_stage_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rehearsal, "apart", lambda work, *given: Measured(work(*given), peak_gb()))  # faster
    steps = list(islice(rehearsal.rehearse(tmp_path, frames=20_000, probed=500), 6))
    assert [step.step for step in steps] == ["write", "split", "load", "draw", "read", "probe"]
    assert all(step.seconds > 0 and step.peak_gb > 0 for step in steps)
    assert pq.read_metadata(tmp_path / "metrics" / "metrics.parquet").num_rows > 0
    hours = [estimate.Hours("crop", "clips", 2, 0, None, "cores")]
    rehearsal.keep(steps, hours, tmp_path / "kept.parquet")
    kept = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    assert [row["kind"] for row in kept] == ["measured"] * 6 + ["estimated"]


def test_placeholders_have_a_shard_for_each_unit_of_the_profile_for_real_data():
    params = config.parsed(profile.text("paper"), "paper")
    shards = placeholders.shards_of_whole(params)
    assert shards["voxceleb2"] == -(-1_128_246 // params.crop.tracks_per_unit)
    assert shards["emotionet"] == -(-929_000 // params.detect.images_per_unit)
    assert shards["mafl"] == 20_000 // params.index.images_per_unit


@pytest.mark.slow
def test_placeholders_are_up_to_date_for_dvc_and_for_the_flow(tmp_path: Path):
    stages, files = placeholders.make(tmp_path, "sample")
    assert files > stages > 10
    assert placeholders.repro(tmp_path) > 0
    assert placeholders.flow(tmp_path) > 0


def test_a_rehearsal_that_is_too_small_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        rehearsal.parsed(["tables", "--probed", "10"])
    assert "--probed should be at least 500, so that each split has some, found 10" in capsys.readouterr().err


def test_the_loader_and_the_original_make_inputs_of_one_shape_and_brightness():
    draw, load = loading.drawn(np.random.default_rng(0)), loading.stored()
    ours = next(pairs.batches(draw, load, batch=32, size_px=64, device=torch.device("cpu"), workers=2))
    theirs = torch.stack([original.prepared(owner, 64, np.random.default_rng(0)) for owner in pictures.jpegs()[:64]])
    assert ours.flatten(0, 1).shape == theirs.shape
    assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=0.02)


def test_a_process_of_its_own_does_not_count_the_memory_of_its_parent():
    held = np.ones(2**27)  # 1 GB
    measured = apart(len, range(7))
    assert measured.value == 7
    assert 0 < measured.peak_gb < held.nbytes / 2**30


def test_a_ratio_is_how_many_times_as_fast_ours_is():
    assert Row("b", "time", "s", "other", ours=2.0, comparison=8.0).ratio == 4
    assert Row("b", "rate", "steps/s", "other", ours=8.0, comparison=2.0).ratio == 4
    assert Row("b", "", "", "", skipped="no GPU").ratio is None


def test_rows_of_benchmarks_that_did_not_run_stay_while_there_are_such(tmp_path: Path):
    path = tmp_path / "machine.parquet"
    first = [Row(name, "x", "s", "other", 1.0, 2.0) for name in ("crop", "loading", "gpu_training", "former")]
    run.keep(first, path)
    run.keep([Row("loading", "z", "s", "other", 1.0, 4.0)], path)
    kept = pq.read_table(path).to_pylist()
    assert [(row["benchmark"], row["what"], row["ratio"]) for row in kept] == [
        ("crop", "x", 2),
        ("gpu_training", "x", 2),
        ("loading", "z", 4),
    ]
    assert all(row["machine"] and row["cores"] and row["torch"] and row["commit"] for row in kept)


def test_what_cannot_run_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def compare(_: object) -> list[Row]:
        raise SkippedError("no GPU")

    monkeypatch.setattr(columns, "compare", compare)
    (row,) = run.measured("columns", run.parsed([]))
    assert str(row) == "columns     skipped: no GPU"


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run.parsed(["sprint"])
    assert "no benchmark called sprint; there are columns, loading, crop" in capsys.readouterr().err


def test_too_few_frames_are_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run.parsed(["--frames", "100"])
    assert "--frames should be at least 20000, so that each split has people, found 100" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_measures_prints_and_keeps(tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks.run", "columns", "--frames", "20000", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (path,) = tmp_path.iterdir()
    rows = pq.read_table(path).to_pylist()
    assert [row["benchmark"] for row in rows] == ["columns"] * 3
    assert all(row["ours"] > 0 and row["comparison"] > 0 and row["peak_gb"] > 0 for row in rows)
    assert done.stdout.count("x Python objects; ") == 3
    assert str(path) in done.stdout


def test_committed_results_have_the_columns_that_are_written_now():
    for path in run.RESULTS.glob("*.parquet"):
        assert pq.read_schema(path).equals(run.SCHEMA)


def test_both_ways_fit_the_same_probe():
    assert probing.largest_difference(5000) < 1e-6
