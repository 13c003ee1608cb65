"""`source: http`, from a mirror and from owners, into data/raw."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from faulty_server import FINE, Fault, Site, serving
from media_samples import encoded, noise
from releases import frame_members, in_parts, put, tar_gz, voxceleb1, voxceleb2, zip_bytes
from test_serve_synthetic import serving as serving_synthetic

from pipelines import serve_synthetic
from stages import fetch
from stages.acquisition import listed_images
from stages.acquisition.retries import RetryPolicy
from stages.releases import archives
from stages.releases.readers import Track
from stages.runtime import plugins, tables, workers
from stages.runtime.errors import UserError, reason
from stages.runtime.params import FetchParams, SyntheticParams

TINY = {
    "affectnet": {"training": 10, "validation": 8},
    "aflw": {"images": 2},
    "emotionet": {"automatic": 2, "manual": 2},
    "mafl": {"training": 1, "testing": 1},
    "voxceleb1": {"identities": 1, "tracks_per_identity": 1, "seconds": 0.8},
    "voxceleb2": {"identities": 1, "tracks_per_identity": 1, "seconds": 0.4, "parts": 3},
    "w300": {"training": 1, "common": 1, "challenging": 1},
}


def run_fetch(dataset: str, tmp_path: Path, source: str = "http", **settings) -> dict[str, dict]:
    """Name -> manifest entry."""
    fetch.run(
        dataset=dataset,
        out=tmp_path / "raw",
        registries=tmp_path / "registry",
        journal=tmp_path / "journal",
        synthetic=SyntheticParams(seed=0),
        settings={},
        fetch=FetchParams.model_validate({"source": source, "folder": str(tmp_path / "release"), **settings}),
    )
    return {entry["name"]: entry for entry in json.loads((tmp_path / "raw" / "manifest.json").read_text())["files"]}


def write_registry(tmp_path: Path, dataset: str, *lines: str) -> None:
    put(tmp_path / "registry" / f"{dataset}.txt", "".join(f"{line}\n" for line in lines))


def rejects(tmp_path: Path) -> list[tuple[str, str]]:
    rows = tables.read(tmp_path / "raw" / "rejects.parquet", tables.REJECTS).to_pylist()
    return [(row["key"], reason(row["kind"], row["detail"])) for row in rows]


@pytest.fixture
def owner(monkeypatch):
    """VoxCeleb's host, which takes a key."""
    files = {"vox2_meta.csv": b"id,set\n1,dev\n", "vox2_test_mp4.zip": zip_bytes({"mp4/a/b/1.mp4": b"x"})}
    files |= {f"vox2_dev_mp4_parta{letter}": bytes([100 + ord(letter)]) + bytes(49) for letter in "abc"}
    with serving(Site(files)) as site:
        monkeypatch.delenv("FABNET_MIRROR", raising=False)
        monkeypatch.setenv("FABNET_VOXCELEB_URL", f"{site.url}/download")
        monkeypatch.setenv("FABNET_VOXCELEB_KEY", "k3y")
        yield site


VOX2 = ["vox2_dev_mp4_partaa 50 - VOXCELEB", "vox2_dev_mp4_partab - - VOXCELEB", "vox2_meta.csv - - VOXCELEB"]


def test_files_are_downloaded_with_the_owners_key_which_stays_secret(owner, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    write_registry(tmp_path, "voxceleb2", *VOX2)
    assert set(run_fetch("voxceleb2", tmp_path)) == {"vox2_dev_mp4_partaa", "vox2_dev_mp4_partab", "vox2_meta.csv"}
    assert {request.query["key"][0] for request in owner.requests} == {"k3y"}
    assert "2 of 2 parts, 1 of 1 other files" in caplog.text
    written = "".join(path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert "k3y" not in caplog.text + written


def test_second_run_makes_no_request_and_gives_the_same_bytes(owner, tmp_path):
    write_registry(tmp_path, "voxceleb2", *VOX2)
    run_fetch("voxceleb2", tmp_path)
    first = (tmp_path / "raw" / "manifest.json").read_bytes()
    owner.requests.clear()
    run_fetch("voxceleb2", tmp_path)
    assert owner.requests == []
    assert (tmp_path / "raw" / "manifest.json").read_bytes() == first


def test_incomplete_download_error_names_coverage_and_reason_but_no_key(owner, tmp_path):
    write_registry(tmp_path, "voxceleb2", *VOX2)
    owner.fault = lambda request: Fault(status=401) if request.path.endswith("ab") else FINE
    with pytest.raises(UserError) as error:
        run_fetch("voxceleb2", tmp_path)
    message = str(error.value)
    assert "voxceleb2 is not complete, found 1 of 2 parts, 1 of 1 other files" in message
    assert "vox2_dev_mp4_partab: access denied (HTTP 401)" in message
    assert "k3y" not in message
    assert not (tmp_path / "raw" / "manifest.json").exists()


def test_files_that_the_user_put_there_are_not_requested(owner, tmp_path):
    write_registry(tmp_path, "voxceleb2", *VOX2)
    put(tmp_path / "release" / "vox2_meta.csv", b"mine")
    run_fetch("voxceleb2", tmp_path)
    assert "vox2_meta.csv" not in [request.path for request in owner.requests]
    assert (tmp_path / "raw" / "vox2_meta.csv").read_bytes() == b"mine"


def test_the_first_parts_alone_make_a_valid_zip(owner, tmp_path):
    clips = {f"dev/mp4/id{k}/v/{k:05d}.mp4": bytes([k]) * 1000 for k in range(12)}
    whole = zip_bytes(clips)
    size = len(whole) // 3 + 1
    owner.files |= {f"vox2_dev_mp4_parta{'abc'[k]}": whole[k * size : (k + 1) * size] for k in range(3)}
    write_registry(tmp_path, "voxceleb2", *(f"vox2_dev_mp4_parta{letter} - - VOXCELEB" for letter in "abc"))
    manifest = run_fetch("voxceleb2", tmp_path, parts=2)
    assert list(manifest) == [f"vox2_dev_mp4_parta{letter}" for letter in "abc"]
    assert {request.path for request in owner.requests} == {"vox2_dev_mp4_partaa", "vox2_dev_mp4_partab"}
    (source,) = archives.zip_sources(tmp_path / "raw")
    with archives.open_zip(source) as archive:
        read = {info.filename: archives.zip_member(archive, info) for info in archive.infolist()}
    assert read == dict(list(clips.items())[: len(read)])
    assert 7 <= len(read) <= 8
    assert run_fetch("voxceleb2", tmp_path, parts=2) == manifest
    assert [entry["size"] for entry in run_fetch("voxceleb2", tmp_path).values()][2] == len(whole) - 2 * size


def test_error_without_a_url_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("FABNET_MIRROR", raising=False)
    monkeypatch.delenv("FABNET_VOXCELEB_URL", raising=False)
    write_registry(tmp_path, "voxceleb2", *VOX2)
    with pytest.raises(UserError, match="set FABNET_VOXCELEB_URL"):
        run_fetch("voxceleb2", tmp_path)


def test_missing_and_malformed_registries_of_a_mirror_raise_an_error(owner, tmp_path, monkeypatch):
    monkeypatch.setenv("FABNET_MIRROR", owner.url)
    with pytest.raises(UserError, match=r"/voxceleb2/registry\.txt should list the mirror's voxceleb2: no such file"):
        run_fetch("voxceleb2", tmp_path)
    owner.files["voxceleb2/registry.txt"] = b"../../x 1 - HOST\n"
    with pytest.raises(UserError, match=r"registry\.txt, line 1: unsafe name"):
        run_fetch("voxceleb2", tmp_path)


def test_images_are_downloaded_from_their_urls_and_dead_urls_are_rejects(tmp_path, monkeypatch):
    write_registry(tmp_path, "emotionet")
    image = encoded(noise(30, 30))
    site = Site({f"N_0000000201/N_0000000201_0000{k}.jpg": image for k in range(3)} | {"old/2.jpg": image})
    site.fault = lambda request: Fault(status=404) if request.path.endswith("1_00002.jpg") else FINE
    monkeypatch.delenv("FABNET_MIRROR", raising=False)
    with serving(site):
        monkeypatch.setenv("FABNET_EMOTIONET_URL", site.url)  # else a loopback address is refused
        rows = [
            f"{site.url}/N_0000000201/N_0000000201_0000{k}.jpg\t{site.url}/old/{k}.jpg\t" + "\t".join("0" * 60)
            for k in range(4)
        ]
        put(tmp_path / "release" / "dataFile_1000.txt", "\n".join(rows))
        manifest = run_fetch("emotionet", tmp_path)
        names = [f"images/N_0000000201/N_0000000201_0000{k}.jpg" for k in range(4)]
        assert list(manifest) == ["dataFile_1000.txt", *names[:3]]
        assert rejects(tmp_path) == [(names[3], "URL is dead: no such file on the server (HTTP 404)")]
        site.requests.clear()
        assert run_fetch("emotionet", tmp_path) == manifest
        assert site.requests == []


def test_listed_url_of_this_machine_is_not_requested_unless_its_server_is_named(tmp_path, monkeypatch):
    write_registry(tmp_path, "emotionet")
    monkeypatch.delenv("FABNET_MIRROR", raising=False)
    with serving(Site({"N_0000000201_00001.jpg": encoded(noise(30, 30))})) as site:
        url = f"{site.url}/N_0000000201_00001.jpg"
        put(tmp_path / "release" / "dataFile_1000.txt", f"{url}\t{url}\t" + "\t".join("0" * 60) + "\n")
        assert list(run_fetch("emotionet", tmp_path)) == ["dataFile_1000.txt"]
        assert site.requests == []
        assert [reason.split(":")[0] for _, reason in rejects(tmp_path)] == ["URL is not public"]
        monkeypatch.setenv("FABNET_LAB_URL", site.url)
        assert "images/N_0000000201/N_0000000201_00001.jpg" in run_fetch("emotionet", tmp_path)


def test_archives_in_the_folder_are_unpacked_into_raw(tmp_path):
    write_registry(tmp_path, "aflw")
    tar_gz(tmp_path / "release" / "aflw-images-0.tar.gz", {"aflw/data/flickr/0/image1.jpg": b"x"})
    tar_gz(tmp_path / "release" / "aflw-db.tar.gz", {"aflw/data/aflw.sqlite": b"y"})
    expected = {"aflw/data/flickr/0/image1.jpg", "aflw/data/aflw.sqlite"}
    assert set(run_fetch("aflw", tmp_path, "folder")) == expected
    assert set(run_fetch("aflw", tmp_path, "folder")) == expected


def test_archives_that_the_reader_can_read_stay_packed(tmp_path):
    write_registry(tmp_path, "voxceleb2")
    put(tmp_path / "release" / "vox2_test_mp4.zip", zip_bytes({"mp4/a/b/1.mp4": b"x"}))
    assert set(run_fetch("voxceleb2", tmp_path, "folder")) == {"vox2_test_mp4.zip"}


def test_file_with_another_digest_than_the_owners_raises_an_error(tmp_path):
    write_registry(tmp_path, "mafl", f"list.txt - md5:{'0' * 32} CELEBA")
    put(tmp_path / "release" / "list.txt", b"x")
    with pytest.raises(UserError, match=r"list\.txt is damaged or not the owner's: expected md5:000"):
        run_fetch("mafl", tmp_path, "folder")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", plugins.names("stages.synthetic"))
def test_served_release_arrives_unchanged(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "available", lambda: 1)  # a pool takes longer than these few faces
    monkeypatch.setattr(listed_images, "POLICY", RetryPolicy(attempts=1))
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")  # nobody listens: listed URLs outside cannot be reached
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    module = plugins.load("stages.synthetic", dataset)
    published = tmp_path / "published"
    published.mkdir()
    module.publish(published, module.Params(**TINY[dataset]), seed=1)
    with serving_synthetic(serve_synthetic.items_of(dataset, published, tmp_path / "cache.json")) as root:
        monkeypatch.setenv("FABNET_MIRROR", root)
        over_http = run_fetch(dataset, tmp_path)
    (tmp_path / "release").rename(tmp_path / "fetched")
    published.rename(tmp_path / "release")
    write_registry(tmp_path, dataset)
    assert run_fetch(dataset, tmp_path, "folder") == over_http


def test_identities_are_downloaded_without_the_rest_of_the_archive(tmp_path, monkeypatch):
    clips = {f"dev/mp4/id{k}/v/1.mp4": bytes([k]) * 5000 for k in range(9)}
    in_parts(tmp_path / "published", "vox2_dev_mp4", zip_bytes(clips), 3)
    put(tmp_path / "published" / "vox2_meta.csv", b"meta")
    with serving_synthetic(
        serve_synthetic.items_of("voxceleb2", tmp_path / "published", tmp_path / "cache.json")
    ) as root:
        monkeypatch.setenv("FABNET_MIRROR", root)
        assert set(run_fetch("voxceleb2", tmp_path, identities=["id3"])) == {"id3.zip", "vox2_meta.csv"}
        with pytest.raises(UserError, match="identity 'id77' should have members"):
            run_fetch("voxceleb2", tmp_path, identities=["id77"])


TEXT = zip_bytes({"txt/id10001/vid1/00001.txt": b"Identity  : \tid10001\n"})


@pytest.mark.parametrize("source", ["http", "folder"])
@pytest.mark.parametrize("number", [1, 2])
def test_text_archives_are_downloaded_and_ignored_by_the_reader(number, source, tmp_path, monkeypatch):
    folder, text = tmp_path / "release", {f"vox{number}_{part}_txt.zip" for part in ("dev", "test")}
    if number == 1:
        voxceleb1(folder, frame_members(["A"]), ["A"])
    else:
        voxceleb2(folder, {"id00012/v/00001": b"1"})
    for name in text:
        put(folder / name, TEXT)
    dataset, names = f"voxceleb{number}", {path.name for path in folder.iterdir()}
    if source == "http":
        write_registry(tmp_path, dataset, *(f"{name} - - OWNER" for name in sorted(names)))
        site = Site({path.name: path.read_bytes() for path in folder.iterdir()})
        shutil.rmtree(folder)
        monkeypatch.delenv("FABNET_MIRROR", raising=False)
        with serving(site):
            monkeypatch.setenv("FABNET_OWNER_URL", site.url)
            manifest = run_fetch(dataset, tmp_path)
    else:
        manifest = run_fetch(dataset, tmp_path, "folder")
    assert set(manifest) == names
    items = list(plugins.load("stages.datasets", dataset).read(tmp_path / "raw").items)
    assert items
    assert all(isinstance(item, Track) for item in items)


@pytest.mark.parametrize("subset", [{"parts": 1}, {"identities": ["id10001"]}])
def test_subset_of_a_release_without_parts_raises_an_error(subset, owner, tmp_path):
    write_registry(tmp_path, "voxceleb1", "vox1_meta.csv - - VOXCELEB")
    with pytest.raises(UserError, match="which voxceleb1 does not have: leave them out"):
        run_fetch("voxceleb1", tmp_path, **subset)
