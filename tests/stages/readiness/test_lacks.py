"""What a run needs and lacks, on real folders: releases, weights, settings of downloads, disk space."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from releases import affectnet, bring, face_points, put, tar_gz, voxceleb1, w300, zip_bytes

from pipelines import profile
from stages.readiness import disk, lacks
from stages.readiness.disk import Use
from stages.readiness.lacks import Folders
from stages.readiness.releases import Source
from stages.runtime import config
from stages.runtime.errors import UserError
from stages.runtime.params import FetchParams, Params

ROOT = Path(__file__).parents[3]
SAMPLE = config.parsed(profile.text("sample", ROOT / "profiles"), "sample")
URL = {"FABNET_VOXCELEB_URL": "https://owner.example/files"}


def fetching(source: str, *names: str, **more: Any) -> Params:
    """The sample, with some data sets from elsewhere."""
    changed = {name: FetchParams(source=source, folder=f"data/releases/{name}", **more) for name in names}
    dataset = {
        name: of.model_copy(update={"fetch": changed[name]}) if name in changed else of
        for name, of in SAMPLE.dataset.items()
    }
    return SAMPLE.model_copy(update={"dataset": dataset})


def folders(root: Path, params: Params = SAMPLE) -> Folders:
    raw = {name: root / "raw" / name for name in params.datasets}
    return Folders(raw, {name: root / "cut" / name for name in params.datasets}, root / "journal")


def found(root: Path, params: Params, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Sentence of every lack by its topic."""
    return {lack.topic: lack.sentence for lack in lacks.find(params, root, folders(root, params), environment or {})}


def release(root: Path, name: str) -> Path:
    folder = root / "data" / "releases" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_the_sample_lacks_nothing(tmp_path: Path):
    assert found(tmp_path, SAMPLE) == {}


def test_every_release_that_is_not_there_is_named_at_once_with_its_owner(tmp_path: Path):
    release(tmp_path, "mafl")
    sentences = found(tmp_path, fetching("folder", "affectnet", "mafl", "w300"))
    assert list(sentences) == ["affectnet", "mafl", "w300"]
    assert "data/releases/affectnet is not a folder: put or link the affectnet release there" in sentences["affectnet"]
    assert "data/releases/mafl is empty: put or link" in sentences["mafl"]
    assert "available from iBUG, Imperial College London" in sentences["w300"]


def test_releases_that_are_there_are_enough(tmp_path: Path):
    affectnet(release(tmp_path, "affectnet"), ["row"], ["row"], {"a.jpg": b"image"})
    voxceleb1(release(tmp_path, "voxceleb1"), {"a": b"b"}, ["Ann"])
    w300(release(tmp_path, "w300"), {"afw/1": face_points(1)})
    assert found(tmp_path, fetching("folder", "affectnet", "voxceleb1", "w300")) == {}


@pytest.mark.parametrize(
    ("name", "present", "lost"),
    [
        ("affectnet", ["Manually_Annotated_Images/1.jpg", "training.csv"], "found no validation.csv"),
        ("affectnet", ["train_set/images/1.jpg"], "found no val_set/images/"),
        ("aflw", ["aflw.sqlite"], "found no flickr/"),
        ("emotionet", ["images/N_1/1.jpg"], "found no list"),
        ("mafl", ["img_align_celeba/1.jpg", "list_landmarks_align_celeba.txt", "training.txt"], "found no testing.txt"),
        ("voxceleb1", ["zippedFaces.tar.gz"], "found no vox1_meta.csv"),
        (
            "voxceleb2",
            ["vox2_meta.csv", "vox2_dev_mp4_partaa", "vox2_dev_mp4_partac"],
            "vox2_dev_mp4_partab is missing",
        ),
        ("voxceleb2", ["vox2_dev_mp4_partaa"], "found no vox2_meta.csv"),
        ("w300", ["notes.txt"], "found no such folder"),
    ],
)
def test_a_list_or_part_that_the_reader_needs_is_missed_before_anything_runs(tmp_path, name, present, lost):
    for file in present:
        put(release(tmp_path, name) / file, "content")
    assert lost in found(tmp_path, fetching("folder", name))[name]


def test_a_folder_of_ones_own_without_a_video_is_named(tmp_path: Path):
    params = config.parsed(profile.text("own_videos", ROOT / "profiles"), "own_videos")
    put(release(tmp_path, "own_videos") / "anna" / "cover.jpg", b"image")
    assert "found no video" in found(tmp_path, params)["own_videos"]
    put(release(tmp_path, "own_videos") / "anna" / "a.mp4", b"video")
    assert found(tmp_path, params) == {}


def test_what_an_archive_may_hold_is_not_missed_but_a_volume_is(tmp_path: Path):
    put(release(tmp_path, "mafl") / "celeba.zip", zip_bytes({"a.jpg": b"image"}))
    tar_gz(release(tmp_path, "w300") / "300w.tar.gz", {"a.jpg": b"image"})
    put(release(tmp_path, "aflw") / "images.zip.002", b"second")
    sentences = found(tmp_path, fetching("folder", "aflw", "mafl", "w300"))
    assert list(sentences) == ["aflw"]
    assert "volume 1 of images is missing" in sentences["aflw"]


def test_a_release_that_was_fetched_may_leave_its_folder_unless_a_file_went_with_it(tmp_path: Path):
    source = voxceleb1(release(tmp_path, "voxceleb1"), {"a": b"b"}, ["Ann"])
    raw = bring("voxceleb1", source, tmp_path / "raw" / "voxceleb1")
    source.rename(tmp_path / "elsewhere")
    assert found(tmp_path, fetching("folder", "voxceleb1")) == {}
    (raw / "vox1_meta.csv").unlink()
    assert list(found(tmp_path, fetching("folder", "voxceleb1"))) == ["voxceleb1"]


def test_a_download_without_its_url_is_named_with_the_variables_and_one_with_it_is_not(tmp_path: Path):
    params = fetching("http", "mafl", "voxceleb2")
    put(release(tmp_path, "mafl") / "training.txt", "1.jpg")
    sentences = found(tmp_path, params)
    assert "vox2_dev_mp4_partaa and 12 more cannot be downloaded: set FABNET_VOXCELEB_URL" in sentences["voxceleb2"]
    assert "testing.txt cannot be downloaded: set FABNET_MAFL_URL" in sentences["mafl"]
    assert "FABNET_CELEBA_URL" in sentences["mafl"]
    assert "voxceleb2" not in found(tmp_path, params, URL)
    assert "mafl" not in found(tmp_path, params, {"FABNET_MIRROR": "http://127.0.0.1:9/"})


def test_a_url_that_is_none_and_half_a_login_are_named(tmp_path: Path):
    params = fetching("http", "voxceleb2")
    assert "should be an http(s) URL" in found(tmp_path, params, {"FABNET_VOXCELEB_URL": "owner"})["voxceleb2"]
    assert "should both be set" in found(tmp_path, params, {**URL, "FABNET_VOXCELEB_USER": "me"})["voxceleb2"]
    assert "should be an http(s) URL" in found(tmp_path, params, {"FABNET_MIRROR": "owner"})["voxceleb2"]


def test_the_lists_of_images_to_download_have_to_be_there(tmp_path: Path):
    params = fetching("http", "emotionet")
    put(release(tmp_path, "emotionet") / "notes.txt", "no list")
    assert "found no list" in found(tmp_path, params)["emotionet"]
    units = "\t".join(["0"] * 60)
    put(
        release(tmp_path, "emotionet") / "dataFile_0001.txt",
        f"http://a.example/N_1/1.jpg\thttp://b.example/1\t{units}\n",
    )
    assert found(tmp_path, params) == {}


def test_weights_that_are_missing_wrong_or_of_another_network_are_named_at_once(tmp_path: Path):
    file = put(tmp_path / "weights.pth", b"no network")
    digest = hashlib.sha256(b"no network").hexdigest()
    method = {
        **SAMPLE.method,
        "released": {**SAMPLE.method["released"], "weights": str(tmp_path / "gone.pth")},
        "vgg_face": {**SAMPLE.method["vgg_face"], "weights": str(file), "weights_sha256": digest},
    }
    names = [*SAMPLE.methods, "released", "vgg_face"]
    trained = SAMPLE.lists.model_copy(update={"pretrained": [*SAMPLE.lists.pretrained, "released", "vgg_face"]})
    detect = SAMPLE.detect.model_copy(update={"detector": "yunet", "weights": str(file), "weights_sha256": "0" * 64})
    changes = {"methods": names, "lists": trained, "method": method, "detect": detect}
    sentences = found(tmp_path, SAMPLE.model_copy(update=changes))
    assert list(sentences) == ["detect", "released", "vgg_face"]
    assert f"detect.weights_sha256 should be the sha256 of {file}, which is {digest}" in sentences["detect"]
    assert (
        "method.released.weights should be the path of the weights of released: found no file" in sentences["released"]
    )
    assert f"{file} cannot be used as the weights of vgg_face" in sentences["vgg_face"]


def test_a_decoder_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    pretrain = SAMPLE.pretrain.model_copy(update={"jpeg_decoder": "torchcodec"})
    sentences = found(tmp_path, SAMPLE.model_copy(update={"pretrain": pretrain}))
    assert list(sentences) == ["pretrain"]
    assert "torchcodec is not installed: `pip install" in sentences["pretrain"]


def test_a_setting_that_a_method_refuses_is_all_that_is_said(tmp_path: Path):
    params = fetching("folder", "w300").model_copy(update={"method": {**SAMPLE.method, "fabnet": {"width": 16}}})
    assert list(found(tmp_path, params)) == ["parameters"]


def test_a_disk_that_is_too_small_is_named_with_what_is_needed(tmp_path: Path):
    disk.check(tmp_path, [Use("crop voxceleb1", tmp_path / "data" / "tracks", 1e-6)])
    uses = [Use("crop voxceleb1", tmp_path / "data" / "tracks", 2e6), Use("unpack mafl", tmp_path / "journal", 1e6)]
    sentence = (
        rf"the disk of {tmp_path} has \d+\.\d GB free, about 3000002 GB are needed \(2000000 GB to crop voxceleb1, "
        r"1000000 GB to unpack mafl\): make room"
    )
    with pytest.raises(UserError, match=sentence):
        disk.check(tmp_path, uses)


def space(root: Path, params: Params, name: str, environment: dict[str, str] | None = None) -> dict[str, float]:
    of = folders(root)
    fetch = params.dataset[name].fetch
    source = Source(name, fetch, root / fetch.folder, of.raw[name])
    return {use.what: use.gb for use in disk.uses(source, params, of.cut, of.journal, environment or {})}


def sparse(path: Path, size: int) -> None:
    """A file of that size that takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def test_space_for_frames_follows_the_release_and_the_rate_until_they_are_there(tmp_path: Path):
    params = fetching("folder", "voxceleb2").model_copy(update={"crop": SAMPLE.crop.model_copy(update={"fps": 2.0})})
    sparse(release(tmp_path, "voxceleb2") / "vox2_dev_mp4_partaa", 25 * 10**9)
    assert space(tmp_path, params, "voxceleb2")["crop voxceleb2"] == pytest.approx(2 * 93 / 10)
    sparse(tmp_path / "journal" / "crop" / "voxceleb2" / "whole" / "0.tar", 10**10)
    assert space(tmp_path, params, "voxceleb2")["crop voxceleb2"] == pytest.approx(2 * 93 / 10 - 10)
    (tmp_path / "cut" / "voxceleb2").mkdir(parents=True)
    assert "crop voxceleb2" not in space(tmp_path, params, "voxceleb2")


def test_space_for_faces_and_unpacked_archives_follows_their_files(tmp_path: Path):
    folder = release(tmp_path, "aflw")
    for number in range(50):
        put(folder / "flickr" / f"{number}.JPG", b"image")
    sparse(folder / "rest.zip", 10**9)
    assert space(tmp_path, fetching("folder", "aflw"), "aflw") == pytest.approx(
        {"unpack aflw": 1.0, "crop aflw": 50 * 18e-6}
    )


def test_a_whole_download_from_its_owner_asks_for_all_its_frames_and_one_from_a_mirror_for_none(tmp_path: Path):
    params = fetching("http", "voxceleb1")
    assert space(tmp_path, params, "voxceleb1", URL)["crop voxceleb1"] == pytest.approx(4 * 21)
    assert space(tmp_path, params, "voxceleb1", {"FABNET_MIRROR": "http://127.0.0.1:9/"}) == {"crop voxceleb1": 0.0}


def test_the_sample_asks_for_no_space_of_its_own(tmp_path: Path):
    assert [space(tmp_path, SAMPLE, name) for name in SAMPLE.datasets] == [{}] * len(SAMPLE.datasets)
