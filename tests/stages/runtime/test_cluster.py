"""Units on a real Dask scheduler with two worker processes, which the tests of this file share."""

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask.config
import dask_cluster
import numpy as np
import pytest
import torch
from dask_cluster import ROOT, Cluster
from face_samples import write_faces
from media_samples import drawn_faces, encoded, noise
from model_samples import described
from releases import affectnet, bring, face_points, frame_members, voxceleb1, w300

from fabnet.pretext import random
from stages import crop, detect, embed, index
from stages.runtime import cluster as dask_work
from stages.runtime import config, connection, remote, workers
from stages.runtime.errors import UserError
from stages.runtime.params import BoxParams, EmbedParams
from stages.training import models

pytestmark = pytest.mark.slow

NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with dask_cluster.running(tmp_path_factory.mktemp("cluster"), workers=2) as running:
        yield running


@pytest.fixture
def named(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with its two workers, as the one that Dask's configuration names."""
    cluster.wait(2)
    with dask.config.set({"scheduler-address": cluster.address}):
        yield cluster


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def here_and_there(cluster: Cluster, run: Callable[[str], None], folder: Path) -> dict[str, bytes]:
    """What `run` writes into folder/out, in this process alone, after it was seen to write the same on a cluster."""
    made: list[dict[str, bytes]] = []
    for address in (None, cluster.address):
        with dask.config.set({"scheduler-address": address}), pytest.MonkeyPatch.context() as patch:
            patch.setattr(workers, "available", lambda: 1)
            run("out")
        made.append(files(folder / "out"))
        shutil.rmtree(folder / "out")
        shutil.rmtree(folder / "journal", ignore_errors=True)
    here, there = made
    assert list(here) == list(there)
    assert [name for name in here if here[name] != there[name]] == []
    return here


def test_results_keep_the_order_of_the_input_over_workers(named, tmp_path):
    taken: list[int] = []
    inputs = (taken.append(number) or number for number in range(20))
    with closing(workers.in_order(dask_cluster.square, inputs, 1, shared=tmp_path)) as results:
        first = next(results)
        assert len(taken) <= 5
        squares, processes = zip(first, *results, strict=True)
    assert squares == tuple(number**2 for number in range(20))
    assert len(set(processes) - {os.getpid()}) == 2
    assert list(tmp_path.iterdir()) == []


def test_work_without_a_shared_folder_stays_on_this_machine(named):
    assert list(workers.in_order(dask_cluster.square, [3], 1)) == [(9, os.getpid())]


def test_a_worker_uses_a_single_thread(named, tmp_path):
    assert next(workers.in_order(dask_cluster.threads, [0], 1, shared=tmp_path)) == (1, 1)


def test_a_stopped_run_leaves_no_task_behind(named, tmp_path):
    with closing(workers.in_order(dask_cluster.square, range(100), 1, shared=tmp_path)) as results:
        next(results)
    deadline = time.monotonic() + 10
    while named.tasks() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert named.tasks() == 0


def test_the_crop_stage_writes_the_same_bytes_on_a_cluster(named, tmp_path, monkeypatch):
    names = ["A", "B", "C", "D"]
    members = frame_members(names, tracks=3, frames=2)  # two units
    raw = bring("voxceleb1", voxceleb1(tmp_path / "release", members, names), tmp_path / "raw")
    params = config.load(ROOT / "params.yaml")
    beside = {"sheets": tmp_path / "sheets", "journal": tmp_path / "journal"}
    monkeypatch.setattr(workers, "available", lambda: 1)
    with dask.config.set({"scheduler-address": None}):
        crop.run(
            "voxceleb1",
            raw=raw,
            out=tmp_path / "here",
            crop=params.crop,
            geometry=params.dataset["voxceleb1"].crop,
            **beside,
        )
    done = subprocess.run(
        [sys.executable, "-m", "stages.crop", "voxceleb1", "--raw", str(raw), "--out", str(tmp_path / "there"),
         *(text for name, path in beside.items() for text in (f"--{name}", str(path)))],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "DASK_SCHEDULER_ADDRESS": named.address},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Dask workers: 2" in done.stdout
    made = files(tmp_path / "here")
    assert {"00000.tar", "00001.tar", "index.parquet"} <= set(made)
    assert made == files(tmp_path / "there")


def test_the_detect_stage_writes_the_same_bytes_on_a_cluster(named, tmp_path):
    images = {f"1/{number}.jpg": encoded(drawn_faces(320, 300, (150 + number, 150, 200))) for number in range(4)}
    images["1/none.jpg"] = encoded(noise(300, 300))
    lines = [f"{name},10,10,300,280,,1,0.1,0.1" for name in images]
    raw = bring("affectnet", affectnet(tmp_path / "release", lines, lines[:1], images), tmp_path / "raw")
    params = config.load(ROOT / "params.yaml").detect.model_copy(update={"images_per_unit": 2})
    beside = {"sheets": tmp_path / "sheets", "journal": tmp_path / "journal"}
    made = here_and_there(
        named,
        lambda out: detect.run(dataset="affectnet", raw=raw, out=tmp_path / out, detect=params, **beside),
        tmp_path,
    )
    assert len([name for name in made if name.endswith(".tar")]) > 1


def test_the_index_stage_writes_the_same_bytes_on_a_cluster(named, tmp_path):
    faces = {f"afw/{number}_1": face_points(number) for number in range(5)}
    raw = bring("w300", w300(tmp_path / "release", faces), tmp_path / "raw")
    params = config.load(ROOT / "params.yaml").index.model_copy(update={"images_per_unit": 2})
    beside = {"sheets": tmp_path / "sheets", "journal": tmp_path / "journal", "box": BoxParams(margin_frac=0.1)}
    made = here_and_there(
        named, lambda out: index.run(dataset="w300", raw=raw, out=tmp_path / out, index=params, **beside), tmp_path
    )
    assert len([name for name in made if name.endswith(".tar")]) == 3


def write_model(folder: Path) -> None:
    settings = {"width": 4, "embedding": 6}
    net = models.build(random, random.Params(**settings), seed=3, size_px=32)
    models.save(folder, described("random", settings), net)
    models.save_checkpoint(folder, models.build(random, random.Params(**settings), seed=4, size_px=32), 5)


def embedding(folder: Path, device: str = "cpu") -> Callable[[str], None]:
    return lambda out: embed.run(
        model=folder / "model", faces=folder / "faces", tracks=folder, track_splits=folder, out=folder / out,
        journal=folder / "journal", face_sets=["affectnet"], track_sets=[], followed=["affectnet"],
        embed=EmbedParams(batch=3, device=device, frames_per_track=1),
    )  # fmt: skip


def test_embeddings_are_the_same_bytes_on_a_cluster_and_with_more_threads(named, tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "BATCHES_PER_UNIT", 1)
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet", broken=(4,))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made = here_and_there(named, embedding(tmp_path), tmp_path)
    finally:
        torch.set_num_threads(before)
    assert set(made) == {"affectnet.parquet", "checkpoints/00000005/affectnet.parquet", "rejects.parquet"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs machines without a GPU")
def test_a_worker_without_the_device_is_a_user_error_that_names_its_machine(named, tmp_path):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    with pytest.raises(UserError, match=f"'cuda' is not available .*{socket.gethostname()}"):
        embedding(tmp_path, "cuda")("out")


def test_a_worker_that_dies_is_told_and_its_units_run_elsewhere(named, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    markers = [tmp_path / str(number) for number in range(8)]
    markers[3].touch()
    processes = list(workers.in_order(dask_cluster.die_once, markers, 1, shared=tmp_path / "shared"))
    assert len(processes) == 8
    assert f"lost the Dask worker on {socket.gethostname()}: what it had in hand runs elsewhere" in caplog.messages


def test_a_worker_that_comes_later_is_noticed_however_short_the_units_are(named, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(dask_work, "WATCH_S", 0.5)
    with closing(workers.in_order(dask_cluster.square, range(1000), 1, shared=tmp_path)) as results:
        next(results)
        named.add_worker()
        named.wait(3)
        time.sleep(0.5)
        next(results)
        assert "Dask workers: 3, machines: 1" in caplog.messages
    worker = named.processes.pop()
    worker.terminate()
    worker.wait(30)


def test_a_unit_that_no_worker_survives_ends_the_run_with_a_sentence(named, tmp_path):
    results = workers.in_order(dask_cluster.die, range(6), 1, shared=tmp_path)
    assert next(results) == 0
    with pytest.raises(UserError, match=r"^1: each of the 2 Dask workers that took it died, .* memory"):
        list(results)


def test_a_worker_that_does_not_see_the_shared_folder_is_named(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the workers are in another folder
    with pytest.raises(UserError, match=f"on {socket.gethostname()} cannot read the folder journal from {ROOT}"):
        list(workers.in_order(dask_cluster.square, [1], 1, shared=Path("journal")))


def test_a_worker_with_other_code_or_threads_is_sent_away_and_the_others_go_on(named, tmp_path, caplog):
    for package in ("fabnet", "stages"):
        shutil.copytree(ROOT / package, tmp_path / "copy" / package)
    with (tmp_path / "copy" / "stages" / "crop.py").open("a", encoding="utf-8") as file:
        file.write("# an edit\n")
    named.add_worker(code=tmp_path / "copy", cwd=tmp_path)
    named.add_worker("--nthreads", "2")
    named.wait(4)
    found = list(workers.in_order(dask_cluster.square, range(8), 1, shared=tmp_path / "shared"))
    assert [square for square, _ in found] == [number**2 for number in range(8)]
    told = "\n".join(caplog.messages)
    assert f"the Dask worker on {socket.gethostname()} runs other code than this process" in told
    assert "works on 2 units at once: start it with `--nthreads 1 --nworkers 2`; it is sent away" in told
    named.wait(2)


def test_a_worker_with_another_version_of_a_package_is_refused(tmp_path):
    token = tmp_path / "token"
    token.write_text("x")
    ours = remote.project(token)
    worker = SimpleNamespace(state=SimpleNamespace(nthreads=1))
    assert remote.examine(ours, worker) == (socket.gethostname(), "")
    versions = tuple((name, "1.0" if name == "numpy" else version) for name, version in ours.versions)
    _, problem = remote.examine(replace(ours, versions=versions), worker)
    assert problem == f"has numpy {np.__version__} instead of 1.0: start it from the environment of this process"


def test_a_scheduler_that_does_not_answer_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "TIMEOUT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in (NOBODY, f"tcp://127.0.0.1:{silent.getsockname()[1]}"):
            with (
                dask.config.set({"scheduler-address": address}),
                pytest.raises(UserError, match="not answer within 1 s"),
            ):
                list(workers.in_order(dask_cluster.square, [1], 1, shared=tmp_path))


def test_an_address_that_is_none_is_a_user_error(tmp_path):
    with (
        dask.config.set({"scheduler-address": "node7"}),
        pytest.raises(UserError, match=r"tcp://host:8786, found 'node7'"),
    ):
        list(workers.in_order(dask_cluster.square, [1], 1, shared=tmp_path))


def test_a_scheduler_that_ends_or_has_no_worker_is_a_user_error(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    with dask_cluster.running(tmp_path, workers=0) as empty:
        patient = {"scheduler-address": empty.address, "fabnet.wait": "1 second"}
        with (
            dask.config.set(patient),
            pytest.raises(UserError, match=r"^no Dask worker is there since 1 second: start one in"),
        ):
            list(workers.in_order(dask_cluster.square, [1], 1, shared=tmp_path))
        assert any("waiting up to 1 second" in message for message in caplog.messages)
        monkeypatch.setattr(dask_work.log, "info", lambda *_: empty.processes[0].kill())  # once it waits
        with dask.config.set({"scheduler-address": empty.address}), pytest.raises(UserError, match="cannot be reached"):
            list(workers.in_order(dask_cluster.square, [1], 1, shared=tmp_path))


def test_a_cluster_of_the_class_that_is_configured_starts_and_ends_with_the_work(tmp_path):
    settings = {"scheduler-address": None, "fabnet.cluster": "dask_cluster.OneMachine", "fabnet.workers": 1}
    with dask.config.set(settings):
        (first, process), (second, same) = workers.in_order(dask_cluster.square, [2, 3], 1, shared=tmp_path)
    assert (first, second) == (4, 9)
    assert process == same != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize(
    ("setting", "wrong", "wanted"),
    [
        ("workers", None, "the number of workers"),
        ("workers", {"minimum": 4}, "the number of workers"),
        ("workers", 0, "the number of workers"),
        ("wait", "10 min", "a time such as 10 minutes"),
    ],
)
def test_a_wrong_setting_of_a_cluster_is_a_user_error(setting, wrong, wanted, tmp_path):
    settings = {"fabnet.cluster": "dask_cluster.OneMachine", f"fabnet.{setting}": wrong}
    with dask.config.set(settings), pytest.raises(UserError, match=f"fabnet.{setting} should be {wanted}.*found"):
        list(workers.in_order(dask_cluster.square, [1], 1, shared=tmp_path))


@pytest.mark.filterwarnings("ignore:unclosed cluster:ResourceWarning")  # of a class that lacks settings
def test_a_class_that_is_none_or_lacks_settings_is_a_user_error(tmp_path):
    for name in ("SLURMCluster", "dask_jobqueue.SLUMCluster", "dask_jobqueue.SLURMCluster"):
        with (
            dask.config.set({"fabnet.cluster": name, "fabnet.workers": 1}),
            pytest.raises(UserError, match=f"found '{name}': "),
        ):
            list(workers.in_order(dask_cluster.square, [1], 1, shared=tmp_path))


def test_a_cluster_without_dask_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "stages.runtime.cluster")
    monkeypatch.delattr("stages.runtime.cluster")
    with dask.config.set({"scheduler-address": NOBODY}), pytest.raises(UserError, match=r"e '\.\[cluster\]'"):
        list(workers.in_order(dask_cluster.square, [1], 1, shared=tmp_path))
