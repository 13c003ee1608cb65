"""`source: http`, from a mirror and from owners, down to data/raw."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from faulty_server import FINE, Fault, Site, serving
from media_samples import encoded, noise
from releases import frame_members, in_parts, put, tar_gz, voxceleb1, voxceleb2, zip_bytes
from test_serve_synthetic import serving as serving_sample

from pipelines import serve_synthetic
from stages import fetch
from stages.releases import archives
from stages.releases.readers import Track
from stages.runtime import plugins, tables
from stages.runtime.errors import UserError, reason
from stages.runtime.params import FetchParams, SyntheticParams

TINY = {
    "affectnet": {"training": 10, "validation": 8},
    "aflw": {"pictures": 6},
    "emotionet": {"automatic": 4, "manual": 4},
    "mafl": {"training": 3, "testing": 2},
    "voxceleb1": {"identities": 1, "tracks_per_identity": 1, "seconds": 0.8},
    "voxceleb2": {"identities": 1, "tracks_per_identity": 1, "seconds": 0.4, "parts": 3},
    "w300": {"training": 2, "common": 1, "challenging": 1},
}


def bring(dataset: str, tmp_path: Path, source: str = "http", **settings) -> dict[str, dict]:
    """Manifest entries by name."""
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


def listed(tmp_path: Path, dataset: str, *lines: str) -> None:
    put(tmp_path / "registry" / f"{dataset}.txt", "".join(f"{line}\n" for line in lines))


def rejects(tmp_path: Path) -> list[tuple[str, str]]:
    rows = tables.read(tmp_path / "raw" / "rejects.parquet", tables.REJECTS).to_pylist()
    return [(row["key"], reason(row["kind"], row["detail"])) for row in rows]


@pytest.fixture
def owner(monkeypatch):
    """VoxCeleb's host with the keyed links of today."""
    files = {"vox2_meta.csv": b"meta", "vox2_test_mp4.zip": zip_bytes({"mp4/a/b/1.mp4": b"x"})}
    files |= {f"vox2_dev_mp4_parta{letter}": letter.encode() * 50 for letter in "abc"}
    with serving(Site(files)) as site:
        monkeypatch.delenv("FABNET_MIRROR", raising=False)
        monkeypatch.setenv("FABNET_VOXCELEB_URL", f"{site.url}/download")
        monkeypatch.setenv("FABNET_VOXCELEB_KEY", "k3y")
        yield site


VOX2 = ["vox2_dev_mp4_partaa 50 - VOXCELEB", "vox2_dev_mp4_partab - - VOXCELEB", "vox2_meta.csv - - VOXCELEB"]


def test_files_come_from_the_owner_with_the_key_and_keep_it_secret(owner, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    listed(tmp_path, "voxceleb2", *VOX2)
    assert set(bring("voxceleb2", tmp_path)) == {"vox2_dev_mp4_partaa", "vox2_dev_mp4_partab", "vox2_meta.csv"}
    assert {request.query["key"][0] for request in owner.requests} == {"k3y"}
    assert "2 of 2 parts, 1 of 1 other files" in caplog.text
    written = "".join(path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert "k3y" not in caplog.text + written


def test_a_second_run_asks_for_nothing_and_gives_the_same_bytes(owner, tmp_path):
    listed(tmp_path, "voxceleb2", *VOX2)
    bring("voxceleb2", tmp_path)
    first = (tmp_path / "raw" / "manifest.json").read_bytes()
    owner.requests.clear()
    bring("voxceleb2", tmp_path)
    assert owner.requests == []
    assert (tmp_path / "raw" / "manifest.json").read_bytes() == first


def test_an_incomplete_release_is_one_sentence_with_coverage_and_reason_and_without_the_key(owner, tmp_path):
    listed(tmp_path, "voxceleb2", *VOX2)
    owner.fault = lambda request: Fault(status=401) if request.path.endswith("ab") else FINE
    with pytest.raises(UserError) as error:
        bring("voxceleb2", tmp_path)
    sentence = str(error.value)
    assert "voxceleb2 is not complete, 1 of 2 parts, 1 of 1 other files are there" in sentence
    assert "vox2_dev_mp4_partab: access denied (HTTP 401)" in sentence
    assert "k3y" not in sentence
    assert not (tmp_path / "raw" / "manifest.json").exists()


def test_files_that_the_user_put_there_are_not_asked_for(owner, tmp_path):
    listed(tmp_path, "voxceleb2", *VOX2)
    put(tmp_path / "release" / "vox2_meta.csv", b"mine")
    bring("voxceleb2", tmp_path)
    assert "vox2_meta.csv" not in [request.path for request in owner.requests]
    assert (tmp_path / "raw" / "vox2_meta.csv").read_bytes() == b"mine"


def test_only_the_first_parts_are_fetched_if_the_user_wants_that_and_make_a_zip(owner, tmp_path):
    clips = {f"dev/mp4/id{k}/v/{k:05d}.mp4": bytes([k]) * 1000 for k in range(12)}
    whole = zip_bytes(clips)
    size = len(whole) // 3 + 1
    owner.files |= {f"vox2_dev_mp4_parta{'abc'[k]}": whole[k * size : (k + 1) * size] for k in range(3)}
    listed(tmp_path, "voxceleb2", *(f"vox2_dev_mp4_parta{letter} - - VOXCELEB" for letter in "abc"))
    found = bring("voxceleb2", tmp_path, parts=2)
    assert list(found) == [f"vox2_dev_mp4_parta{letter}" for letter in "abc"]
    assert {request.path for request in owner.requests} == {"vox2_dev_mp4_partaa", "vox2_dev_mp4_partab"}
    (source,) = archives.zip_sources(tmp_path / "raw")
    with archives.open_zip(source) as archive:
        read = {info.filename: archives.zip_member(archive, info) for info in archive.infolist()}
    assert read == dict(list(clips.items())[: len(read)])
    assert 7 <= len(read) <= 8
    assert bring("voxceleb2", tmp_path, parts=2) == found
    assert [entry["size"] for entry in bring("voxceleb2", tmp_path).values()][2] == len(whole) - 2 * size


def test_without_an_address_the_sentence_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("FABNET_MIRROR", raising=False)
    monkeypatch.delenv("FABNET_VOXCELEB_URL", raising=False)
    listed(tmp_path, "voxceleb2", *VOX2)
    with pytest.raises(UserError, match="set FABNET_VOXCELEB_URL"):
        bring("voxceleb2", tmp_path)


def test_a_mirror_that_is_down_or_has_a_malformed_registry_is_one_sentence(owner, tmp_path, monkeypatch):
    monkeypatch.setenv("FABNET_MIRROR", owner.url)
    with pytest.raises(UserError, match=r"/voxceleb2/registry\.txt should list the mirror's voxceleb2: no such file"):
        bring("voxceleb2", tmp_path)
    owner.files["voxceleb2/registry.txt"] = b"../../x 1 - HOST\n"
    with pytest.raises(UserError, match=r"registry\.txt, line 1: unsafe name"):
        bring("voxceleb2", tmp_path)


def test_pictures_come_from_their_addresses_and_dead_ones_are_rejects(tmp_path, monkeypatch):
    listed(tmp_path, "emotionet")
    picture = encoded(noise(30, 30))
    site = Site({f"N_0000000201/N_0000000201_0000{k}.jpg": picture for k in range(3)} | {"old/2.jpg": picture})
    site.fault = lambda request: Fault(status=404) if request.path.endswith("1_00002.jpg") else FINE
    monkeypatch.delenv("FABNET_MIRROR", raising=False)
    with serving(site):
        rows = [
            f"{site.url}/N_0000000201/N_0000000201_0000{k}.jpg\t{site.url}/old/{k}.jpg\t" + "\t".join("0" * 60)
            for k in range(4)
        ]
        put(tmp_path / "release" / "dataFile_1000.txt", "\n".join(rows))
        found = bring("emotionet", tmp_path)
        names = [f"images/N_0000000201/N_0000000201_0000{k}.jpg" for k in range(4)]
        assert list(found) == ["dataFile_1000.txt", *names[:3]]
        assert rejects(tmp_path) == [(names[3], "address is dead: no such file on the server (HTTP 404)")]
        site.requests.clear()
        assert bring("emotionet", tmp_path) == found
        assert site.requests == []


def test_dropped_archives_are_unpacked_into_raw(tmp_path):
    listed(tmp_path, "aflw")
    tar_gz(tmp_path / "release" / "aflw-images-0.tar.gz", {"aflw/data/flickr/0/image1.jpg": b"x"})
    tar_gz(tmp_path / "release" / "aflw-db.tar.gz", {"aflw/data/aflw.sqlite": b"y"})
    expected = {"aflw/data/flickr/0/image1.jpg", "aflw/data/aflw.sqlite"}
    assert set(bring("aflw", tmp_path, "folder")) == expected
    assert set(bring("aflw", tmp_path, "folder")) == expected


def test_archives_that_the_reader_reads_itself_stay(tmp_path):
    listed(tmp_path, "voxceleb2")
    put(tmp_path / "release" / "vox2_test_mp4.zip", zip_bytes({"mp4/a/b/1.mp4": b"x"}))
    assert set(bring("voxceleb2", tmp_path, "folder")) == {"vox2_test_mp4.zip"}


def test_a_dropped_file_with_another_digest_than_the_owners_is_one_sentence(tmp_path):
    listed(tmp_path, "mafl", f"list.txt - md5:{'0' * 32} CELEBA")
    put(tmp_path / "release" / "list.txt", b"x")
    with pytest.raises(UserError, match=r"list\.txt is damaged or not the owner's: expected md5:000"):
        bring("mafl", tmp_path, "folder")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", plugins.names("stages.datasets"))
def test_the_served_sample_arrives_as_it_was_published(dataset, tmp_path, monkeypatch):
    module = plugins.load("stages.synthetic", dataset)
    published = tmp_path / "published"
    published.mkdir()
    module.publish(published, module.Params(**TINY[dataset]), seed=1)
    with serving_sample(serve_synthetic.shelf(dataset, published, tmp_path / "memory.json")) as root:
        monkeypatch.setenv("FABNET_MIRROR", root)
        over_http = bring(dataset, tmp_path)
    (tmp_path / "release").rename(tmp_path / "fetched")
    published.rename(tmp_path / "release")
    listed(tmp_path, dataset)
    assert bring(dataset, tmp_path, "folder") == over_http


def test_some_identities_come_without_the_rest_of_the_archive(tmp_path, monkeypatch):
    clips = {f"dev/mp4/id{k}/v/1.mp4": bytes([k]) * 5000 for k in range(9)}
    in_parts(tmp_path / "published", "vox2_dev_mp4", zip_bytes(clips), 3)
    put(tmp_path / "published" / "vox2_meta.csv", b"meta")
    with serving_sample(serve_synthetic.shelf("voxceleb2", tmp_path / "published", tmp_path / "memory.json")) as root:
        monkeypatch.setenv("FABNET_MIRROR", root)
        assert set(bring("voxceleb2", tmp_path, identities=["id3"])) == {"id3.zip", "vox2_meta.csv"}
        with pytest.raises(UserError, match="identity 'id77' should have members"):
            bring("voxceleb2", tmp_path, identities=["id77"])


TEXT = zip_bytes({"txt/id10001/vid1/00001.txt": b"Identity  : \tid10001\n"})


@pytest.mark.parametrize("source", ["http", "folder"])
@pytest.mark.parametrize("number", [1, 2])
def test_text_archives_come_with_voxceleb_and_its_reader_leaves_them_aside(number, source, tmp_path, monkeypatch):
    folder, text = tmp_path / "release", {f"vox{number}_{part}_txt.zip" for part in ("dev", "test")}
    if number == 1:
        voxceleb1(folder, frame_members(["A"]), ["A"])
    else:
        voxceleb2(folder, {"id00012/v/00001": b"1"})
    for name in text:
        put(folder / name, TEXT)
    dataset, names = f"voxceleb{number}", {path.name for path in folder.iterdir()}
    if source == "http":
        listed(tmp_path, dataset, *(f"{name} - - OWNER" for name in sorted(names)))
        site = Site({path.name: path.read_bytes() for path in folder.iterdir()})
        shutil.rmtree(folder)
        monkeypatch.delenv("FABNET_MIRROR", raising=False)
        with serving(site):
            monkeypatch.setenv("FABNET_OWNER_URL", site.url)
            found = bring(dataset, tmp_path)
    else:
        found = bring(dataset, tmp_path, "folder")
    assert set(found) == names
    items = list(plugins.load("stages.datasets", dataset).read(tmp_path / "raw").items)
    assert items
    assert all(isinstance(item, Track) for item in items)


@pytest.mark.parametrize("chosen", [{"parts": 1}, {"identities": ["id10001"]}])
def test_a_subset_of_a_release_that_is_not_cut_up_is_one_sentence(chosen, owner, tmp_path):
    listed(tmp_path, "voxceleb1", "vox1_meta.csv - - VOXCELEB")
    with pytest.raises(UserError, match="which voxceleb1 does not have: leave them out"):
        bring("voxceleb1", tmp_path, **chosen)
