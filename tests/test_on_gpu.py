"""The parts of benchmarks/on_gpu.sh, small and on the CPU, and what is made of their results."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import visible_modules
from face_samples import COUNT, write_faces
from probe_samples import PARAMS, SETTINGS, write_tree
from torch import nn
from track_samples import SPLITS, write_tracks

from benchmarks import gpu_pack, gpu_results, gpu_steps, packed, parts, roofline, run
from fabnet.modules import model_file
from pipelines import profile
from stages.evaluation import scores
from stages.runtime import config, tables
from stages.runtime.errors import UserError
from stages.runtime.params import Params
from stages.training import models

ROOT = Path(__file__).parents[1]
SEEN = ["torch", "torchgen", "functorch", "numpy", "PIL", "safetensors"]
BROUGHT_BY_TORCH = ["typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec"]

# Runs the parts with few and small steps.
PROGRAM = """
from benchmarks import gpu_loading, gpu_probe, gpu_steps, gpu_training, parts
common = ["--device", "cpu", "--packed", sys.argv[1], "--out", sys.argv[2]]
small = {
    gpu_steps: "--sizes 32 --batches 2 --precisions bfloat16 --seconds 0 --modes",
    gpu_loading: "--size 32 --batches 2 --precision float32 --seconds 0",
    gpu_training: "--size 32 --batch 8 --precision float32 --minutes 0",
    gpu_probe: "--images 8000 --dims 8",
}
for part, arguments in small.items():
    parts.run(part.parsed(common + arguments.split()), part.measure)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small tracks and faces with pixels, and the splits of the tracks."""
    root = tmp_path_factory.mktemp("data")
    write_tracks(root, "voxceleb1", frames=4)
    (root / "splits").rename(root / "of_tracks")
    (root / "splits").mkdir()
    (root / "of_tracks").rename(root / "splits" / "tracks")
    write_faces(root / "faces" / "aflw")
    return root


def params() -> Params:
    """The profile `paper` with small networks."""
    whole = config.parsed(profile.text("paper"), "paper")
    small = {"width": 4, "embedding": 6}
    pretrain = whole.pretrain.model_copy(update={"val_samples": 8, "jitter_px": {"voxceleb1": (36, 40)}})
    return whole.model_copy(update={"method": {"fabnet": small, "random": small}, "pretrain": pretrain})


def pack(data: Path, out: Path, **changes: int) -> Path:
    gpu_pack.pack(data, params(), out, **{"every": 1, "quality": 75, "limit_mib": 1, **changes})
    return out


def test_frames_of_the_splits_for_training_and_all_faces_are_packed(tmp_path: Path, data: Path):
    pack(data, tmp_path)
    frames, faces = packed.frames(tmp_path), packed.faces(tmp_path)
    per_identity = 2 * 4
    for split, tracks in frames.tracks.items():
        assert len(tracks) == list(SPLITS.values()).count(split)
        assert tracks.lengths.tolist() == [4] * (2 * len(tracks))
    assert len(frames.pictures) == 5 * per_identity
    assert sorted(set(frames.tracks["val"].first // per_identity)) == [3, 4]
    assert faces.ids.tolist() == sorted(str(number) for number in range(COUNT))
    assert set(faces.datasets) == {"aflw"}
    assert {image.shape for image in faces.pictures.images()} == {(256, 256, 3)}


def test_a_packed_frame_is_that_of_its_track(tmp_path: Path, data: Path):
    frames = packed.frames(pack(data, tmp_path, quality=95))
    whole = gpu_pack.TrackSource(data / "tracks", data / "splits" / "tracks", ["voxceleb1"], {"voxceleb1": (36, 40)})
    source = whole.load(2, "test")
    for split in packed.SPLITS:
        for ours, theirs in zip(frames.tracks[split].first, source.tracks[split].first, strict=True):
            difference = frames.pictures.image(ours + 1).astype(int) - source.image(theirs + 1)
            assert np.abs(difference).mean() < 4


def test_identities_of_an_oversampled_data_set_are_drawn_more_often(tmp_path: Path, data: Path):
    whole = params()
    pretrain = whole.pretrain.model_copy(update={"oversample": {"voxceleb1": 3}})
    gpu_pack.pack(data, whole.model_copy(update={"pretrain": pretrain}), tmp_path, every=1, quality=75, limit_mib=1)
    frames = packed.frames(tmp_path)
    assert np.bincount(frames.draw("train", 2 * frames.times, 0).identities).tolist() == [6] * len(frames.times)


def test_every_second_frame_leaves_two_of_each_track(tmp_path: Path, data: Path):
    frames = packed.frames(pack(data, tmp_path, every=100))
    assert set(frames.tracks["train"].lengths) == {2}


def test_files_that_are_too_large_are_refused_with_what_to_do(tmp_path: Path, data: Path):
    with pytest.raises(UserError, match="expected at most 0: lower --quality, or raise --every or --mib"):
        pack(data, tmp_path, limit_mib=0)


@pytest.mark.slow
def test_all_parts_run_where_there_is_little_more_than_pytorch(tmp_path: Path, data: Path):
    inputs, out = pack(data, tmp_path / "packed"), tmp_path / "out"
    program = visible_modules.only([*SEEN, *BROUGHT_BY_TORCH, "fabnet", "benchmarks"]) + PROGRAM
    command = [sys.executable, "-c", program, str(inputs), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["benchmark"] for row in rows} == {"gpu_steps", "gpu_loading", "gpu_training", "gpu_probe"}
    assert all(row["ours"] > 0 for row in rows)
    assert gpu_results.keep_rows(out, tmp_path / "results").exists()
    method, description = models.load(out / "fabnet-0")
    assert description.steps > 0
    with np.load(out / "embeddings.npz") as found:
        assert {"random-0/00000000", f"fabnet-0/{description.steps:08d}"} <= set(found)
        faces = packed.faces(inputs).pictures.image(0)
        inputs_of_first = torch.from_numpy(faces).permute(2, 0, 1)[None].float() / 255
        small = nn.functional.interpolate(inputs_of_first, (32, 32), mode="bilinear", antialias=True)
        expected = method.encoder(small).flatten(1).detach().numpy()
        assert found[f"fabnet-0/{description.steps:08d}"][:1] == pytest.approx(expected, rel=1e-2, abs=1e-3)
    with (out / "fabnet-0" / "history.csv").open(encoding="utf-8") as file:
        assert int(list(csv.DictReader(file))[-1]["step"]) == description.steps
    assert model_file.NAME in {path.name for path in (out / "fabnet-0").iterdir()}


def test_returned_embeddings_are_probed_as_if_the_stage_had_made_them(tmp_path: Path):
    tree = write_tree(tmp_path, method="expected")
    returned = tmp_path / "returned"
    returned.mkdir()
    of_sets = {name: tables.read(tree["embeddings"] / f"{name}.parquet") for name in ("affectnet", "w300")}
    vectors = np.concatenate([np.stack(table["embedding"].to_numpy()) for table in of_sets.values()])
    columns: dict[str, Any] = {
        "datasets": np.concatenate([[name] * len(table) for name, table in of_sets.items()]),
        "ids": np.concatenate([table["sample_id"].to_pylist() for table in of_sets.values()]),
        "random-0/00000000": np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32),
        "fabnet-0/00000100": np.random.default_rng(1).normal(size=vectors.shape).astype(np.float16),
        "fabnet-0/00000900": vectors,
    }
    np.savez(returned / "embeddings.npz", **columns)
    assert gpu_results.write_embeddings(returned) == ["fabnet-0", "random-0"]
    for name, table in of_sets.items():
        written = tables.read(returned / "embeddings" / "fabnet-0" / f"{name}.parquet")
        assert written.equals(table)
        assert written.schema.metadata[b"steps"] == b"900"
    whole = params()
    lists = whole.lists.model_copy(update={"followed": ["w300"]})
    small = whole.model_copy(update={"probe": PARAMS, "dataset": SETTINGS, "lists": lists})
    for model in ("fabnet-0", "random-0"):
        gpu_results.fit_probes(returned, model, tmp_path, small)
    curve = tables.read(returned / "metrics" / "fabnet-0" / "learning_curves.parquet").to_pylist()
    assert [row["step"] for row in curve] == [100, 900]
    table = gpu_results.summary(returned, ["fabnet-0", "random-0"])
    assert {row["task"] for row in table} == {"expression", "retrieval", "landmarks"}
    error = {row["model"]: row["value"] for row in table if row["task"] == "landmarks"}
    assert error["fabnet-0"] < error["random-0"]
    assert scores.METRICS["interocular_percent"].higher_is_better is False


def test_rows_of_a_gpu_get_a_table_of_its_own(tmp_path: Path):
    row = {"benchmark": "gpu_steps", "what": "x", "unit": "steps/s", "compared_with": "", "ours": 3.0}
    about = {"machine": "NVIDIA H200, Xeon", "cores": 16, "torch": "2.11.0", "commit": "abc", "skipped": ""}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | about) + "\n", encoding="utf-8")
    path = gpu_results.keep_rows(tmp_path, tmp_path / "results")
    assert path.name == "nvidia-h200-xeon-16-cores.parquet"
    assert pq.read_table(path).to_pylist() == [dict.fromkeys(run.SCHEMA.names) | row | about]


def test_a_folder_without_results_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"rows\.jsonl is missing: name the folder that benchmarks/on_gpu\.sh wrote"):
        gpu_results.keep_rows(tmp_path, tmp_path)


def test_operations_and_bytes_of_a_layer_are_counted():
    layer, inputs = nn.Linear(4, 5, bias=False), torch.rand(8, 4)
    work = roofline.counted(lambda: layer(inputs).square().sum().backward(), layer)
    assert work.operations == 2 * (2 * 8 * 4 * 5)  # forward, and the gradient of the weights
    product, adam = 4 * (8 * 4 + 4 * 5 + 8 * 5), 7 * 4 * (4 * 5)
    assert work.least_bytes == 2 * product + adam
    assert work.eager_bytes > work.least_bytes


def test_the_roofline_is_the_slower_of_calculation_and_transport():
    ceilings = roofline.Ceilings(100.0, {"tf32": 10.0, "bfloat16": 50.0})
    work = roofline.Work(100.0, 400.0, 900.0)
    assert ceilings.least_s(work, "float32") == 10
    assert ceilings.least_s(work, "bfloat16") == 4


def test_a_part_that_fails_does_not_keep_the_next_ones_from_running(tmp_path: Path):
    stub = tmp_path / "python"
    stub.write_text("#!/bin/sh\necho arguments: $@\nexit 3\n", encoding="utf-8")
    stub.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(stub)}
    command = ["sh", "benchmarks/on_gpu.sh", str(tmp_path / "out")]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    log = (tmp_path / "out" / "log.txt").read_text(encoding="utf-8")
    found = re.findall(r"^== (\w+)\narguments: .*?(\S+\.py)", log, re.MULTILINE)
    assert [name for name, _ in found] == ["tests", "steps", "loader", "training", "probe"]
    assert all((ROOT / path).exists() for _, path in found)
    assert log.count("ended with 3") == 5


def test_a_part_without_a_gpu_ends_in_one_sentence(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match="device 'cuda' is not available here: take auto or cpu"):
        parts.run(gpu_steps.parsed(["--out", str(tmp_path)]), gpu_steps.measure)


def test_all_parts_together_end_within_nine_minutes():
    script = (ROOT / "benchmarks" / "on_gpu.sh").read_text(encoding="utf-8")
    limits = [int(limit) for limit in re.findall(r"^part (\d+) ", script, re.MULTILINE)]
    after = int(re.search(r"timeout -k (\d+)", script)[1])
    assert sum(limits) + after * len(limits) <= 9 * 60
