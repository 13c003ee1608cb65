import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from releases import bring, put
from ruamel.yaml import YAML
from waiting import until

import stages.datasets
import stages.synthetic
from stages import fetch
from stages.acquisition import digests
from stages.runtime import command, outputs, plugins, tables
from stages.runtime.errors import UserError
from stages.runtime.params import FetchParams, SyntheticParams

ROOT = Path(__file__).parents[2]


@pytest.fixture
def release(tmp_path):
    put(tmp_path / "release" / "vox1_meta.csv", "meta")
    put(tmp_path / "release" / "deep" / "er" / "archive.tar.gz", b"tar" * 1000)
    return tmp_path / "release"


def manifest(raw) -> dict:
    return json.loads((raw / "manifest.json").read_text())


def test_files_are_linked_and_listed_with_their_digest(tmp_path, release):
    raw = bring("voxceleb1", release, tmp_path / "raw")
    assert (raw / "deep" / "er" / "archive.tar.gz").samefile(release / "deep" / "er" / "archive.tar.gz")
    entry = manifest(raw)["files"][1]
    assert entry == {
        "name": "vox1_meta.csv",
        "size": 4,
        "sha256": "ea3bd73e2b506e00527232b3ed743c066da83a8e3066f62a71e75eb9b4aa1db6",
    }
    assert [entry["name"] for entry in manifest(raw)["files"]] == ["deep/er/archive.tar.gz", "vox1_meta.csv"]
    assert tables.read(raw / "rejects.parquet", tables.REJECTS).num_rows == 0


def test_symbolic_links_are_made_where_hard_links_are_refused(tmp_path, release, monkeypatch):
    def refuse(source, target):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    raw = bring("voxceleb1", release, tmp_path / "raw")
    assert (raw / "vox1_meta.csv").is_symlink()
    assert (raw / "vox1_meta.csv").read_text() == "meta"


def test_links_to_folders_are_followed(tmp_path, release):
    (tmp_path / "link").symlink_to(release)
    (release / "other").symlink_to(release / "deep")
    (release / "loop").symlink_to(release)
    raw = bring("voxceleb1", tmp_path / "link", tmp_path / "raw")
    names = [entry["name"] for entry in manifest(raw)["files"]]
    assert names == ["deep/er/archive.tar.gz", "other/er/archive.tar.gz", "vox1_meta.csv"]


def test_second_run_hashes_no_file_and_gives_the_same_bytes(tmp_path, release, monkeypatch):
    raw = bring("voxceleb1", release, tmp_path / "raw")
    first = [(raw / name).read_bytes() for name in ("manifest.json", "rejects.parquet")]
    monkeypatch.setattr(digests, "file_digest", lambda path, *_: pytest.fail(f"{path} is read again"))
    bring("voxceleb1", release, raw)
    assert [(raw / name).read_bytes() for name in ("manifest.json", "rejects.parquet")] == first


def test_a_byte_that_the_disk_has_changed_is_found_by_verify_alone(tmp_path, release):
    raw = bring("voxceleb1", release, tmp_path / "raw")
    before, path = manifest(raw), release / "vox1_meta.csv"
    times = path.stat()
    with path.open("r+b") as file:
        file.write(b"?")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert manifest(bring("voxceleb1", release, raw)) == before
    assert manifest(bring("voxceleb1", release, raw, verify=True)) != before


def test_a_second_fetch_of_a_release_at_the_same_time_is_a_user_error(tmp_path, release):
    lock = tmp_path / "journal" / "fetch" / "voxceleb1.lock"
    with outputs.alone(lock, "it"), pytest.raises(UserError, match=r"another run works in .*fetch/voxceleb1: wait"):
        bring("voxceleb1", release, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    bring("voxceleb1", release, tmp_path / "raw")


def test_two_projects_do_not_download_into_one_folder_at_the_same_time(tmp_path):
    params = FetchParams(source="http", folder=str(tmp_path / "release"))
    with (
        outputs.alone(tmp_path / "release" / outputs.LOCK, "it"),
        pytest.raises(UserError, match="another run works in"),
    ):
        fetch.run(
            "voxceleb1", out=tmp_path / "raw", journal=tmp_path / "journal", settings={}, fetch=params,
            synthetic=SyntheticParams(seed=0),
        )  # fmt: skip


def test_changed_file_is_hashed_again_and_a_removed_one_disappears(tmp_path, release):
    raw = bring("voxceleb1", release, tmp_path / "raw")
    before = manifest(raw)
    put(release / "new.csv", "new")
    (release / "vox1_meta.csv").unlink()
    put(release / "vox1_meta.csv", "atem")
    (release / "deep" / "er" / "archive.tar.gz").unlink()
    bring("voxceleb1", release, raw)
    assert [entry["name"] for entry in manifest(raw)["files"]] == ["new.csv", "vox1_meta.csv"]
    assert manifest(raw)["files"][1]["sha256"] != before["files"][1]["sha256"]
    assert sorted(path.name for path in raw.iterdir()) == [
        "manifest.json",
        "new.csv",
        "rejects.parquet",
        "vox1_meta.csv",
    ]


def test_stopped_run_leaves_no_manifest(tmp_path, release, monkeypatch):
    raw = bring("voxceleb1", release, tmp_path / "raw")
    put(release / "new.csv", "new")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(digests, "file_digest", stop)
    with pytest.raises(KeyboardInterrupt):
        bring("voxceleb1", release, raw)
    assert not (raw / "manifest.json").exists()


def test_error_about_a_missing_or_empty_release_says_what_to_put_there(tmp_path):
    with pytest.raises(
        UserError, match=r"put or link the voxceleb1 release there, expected dense-face-frames\.tar\.gz"
    ):
        bring("voxceleb1", tmp_path / "nowhere", tmp_path / "raw")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UserError, match=r"is empty: put or link the w300 release .* available from iBUG, Imperial College London"
    ):
        bring("w300", tmp_path / "empty", tmp_path / "raw")
    assert not (tmp_path / "raw" / "manifest.json").exists()


def test_release_folder_that_overlaps_the_target_is_refused(tmp_path, release):
    (tmp_path / "raw").symlink_to(release)
    with pytest.raises(UserError, match="apart from the release"):
        bring("voxceleb1", release, tmp_path / "raw")
    assert (release / "vox1_meta.csv").exists()
    with pytest.raises(UserError, match="apart from the release"):
        bring("voxceleb1", release, release / "raw")


def test_dead_links_and_unreadable_names_are_rejects(tmp_path, release):
    (release / "dead.jpg").symlink_to(tmp_path / "gone")
    put(release / "caf\udce9.jpg", "x")
    raw = bring("voxceleb1", release, tmp_path / "raw")
    rejects = tables.read(raw / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["key"], row["kind"]) for row in rejects] == [
        ("caf\\udce9.jpg", "unreadable name"),
        ("dead.jpg", "unreadable file"),
    ]


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """A data set `made` with a publisher that adds a letter to the file `calls` each time it renders."""
    calls = tmp_path / "calls"
    put(
        tmp_path / "modules" / "made.py",
        f"""
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True)
class Params:
    words: int

def publish(folder, params, *, seed):
    with Path({str(calls)!r}).open("a") as file:
        file.write("x")
    for word in range(params.words):
        (folder / f"{{word}}.txt").write_text(f"{{seed}} {{word}}")
        if word == 7:
            raise KeyboardInterrupt
""",
    )
    put(tmp_path / "readers" / "made.py", 'EXPECTED, OWNER = "words", "somebody"')
    for package, folder in ((stages.synthetic, "modules"), (stages.datasets, "readers")):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / folder)])
        monkeypatch.setattr(package.__spec__, "submodule_search_locations", package.__path__)
    plugins.load("stages.datasets", "made")  # a release is rendered again when the loaded code changes
    yield calls
    for package in ("synthetic", "datasets"):
        sys.modules.pop(f"stages.{package}.made", None)


def publish(tmp_path, words: int, seed: int = 1) -> list[dict]:
    fetch.run(
        dataset="made",
        out=tmp_path / "raw",
        journal=tmp_path / "journal",
        synthetic=SyntheticParams(seed=seed),
        settings={"words": words},
        fetch=FetchParams(source="synthetic", folder="unused"),
    )
    return manifest(tmp_path / "raw")["files"]


def test_synthetic_release_is_rendered_once_for_the_same_settings(tmp_path, publisher):
    first = publish(tmp_path, 3)
    assert [entry["name"] for entry in first] == ["0.txt", "1.txt", "2.txt"]
    assert publish(tmp_path, 3) == first
    assert publisher.read_text() == "x"
    assert [entry["name"] for entry in publish(tmp_path, 2)] == ["0.txt", "1.txt"]
    assert publish(tmp_path, 2, seed=2)[0]["sha256"] != first[0]["sha256"]
    assert publisher.read_text() == "xxx"


def test_stopped_rendering_starts_over(tmp_path, publisher):
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, 9)
    assert not (tmp_path / "raw" / "manifest.json").exists()
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, 9)
    assert publisher.read_text() == "xx"
    assert len(publish(tmp_path, 4)) == 4


def rendering(work: Path) -> subprocess.Popen[str]:
    """`fetch` of a small synthetic VoxCeleb2 as DVC starts it, in the folder `work`."""
    params = YAML().load((ROOT / "params.yaml").read_text())
    params["dataset"]["voxceleb2"]["fetch"]["source"] = "synthetic"
    params["dataset"]["voxceleb2"]["synthetic"] = {
        "identities": 10, "tracks_per_identity": 1, "seconds": 0.4, "parts": 2
    }  # fmt: skip
    work.mkdir(exist_ok=True)
    YAML().dump(params, work / "params.yaml")
    return subprocess.Popen(
        [sys.executable, "-m", "stages.fetch", "voxceleb2", "--out", "raw"],
        cwd=work, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def people(work: Path) -> int:
    return len(list(work.glob(".journal/fetch/voxceleb2/*/people/*/[0-9]*")))


@pytest.mark.slow
@pytest.mark.usefixtures("sigint_is_heard")
def test_a_stopped_rendering_continues_after_the_finished_people_and_gives_the_same_bytes(tmp_path):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    for least, how, status in ((2, signal.SIGINT, 130), (4, signal.SIGKILL, -signal.SIGKILL)):
        process = rendering(stopped)
        assert until(lambda least=least: people(stopped) >= least, 60)
        process.send_signal(how)
        output, errors = process.communicate()
        assert process.returncode == status
        assert how == signal.SIGKILL or errors.endswith(f"{command.RESUMABLE}\n")
        assert not (stopped / "raw" / "manifest.json").exists()
    finished = people(stopped)
    assert 4 <= finished < 10
    output, _ = rendering(stopped).communicate()
    assert f"continuing after {finished} of 10 people" in output
    assert not people(stopped)
    rendering(whole).communicate()
    assert (stopped / "raw" / "manifest.json").read_bytes() == (whole / "raw" / "manifest.json").read_bytes()


def test_unknown_setting_of_a_publisher_raises_an_error(tmp_path, publisher):
    with pytest.raises(UserError, match=r"dataset\.made\.synthetic"):
        fetch.run(
            dataset="made",
            out=tmp_path / "raw",
            journal=tmp_path / "journal",
            synthetic=SyntheticParams(seed=1),
            settings={"word": 1},
            fetch=FetchParams(source="synthetic", folder="unused"),
        )
