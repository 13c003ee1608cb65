"""Two laboratories pack the same releases, and compare their crops."""

from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from releases import bring, face_points, frame_members, voxceleb1, w300
from tiny_repository import ROOT

from pipelines import cli, profile
from pipelines.fingerprints import comparison, crops
from stages import crop, index
from stages.runtime import config, tables
from stages.runtime.errors import UserError
from stages.storage.shards import Shards

TEXT = profile.text("sample", ROOT / "profiles")
SAMPLE = config.parsed(TEXT, "sample")
COUNT = 6


def faces(folder: Path, count: int = COUNT, *, quality: int = 95, margin: float = 0.1) -> Path:
    """A project with the crops of 300-W."""
    data, release = folder / "data", folder / "release"
    raw = bring("w300", w300(release, {f"ibug/{n}": face_points(n) for n in range(count)}), data / "raw" / "w300")
    text = TEXT.replace("    index: {margin_frac: 0.1}", f"    index: {{margin_frac: {margin}}}")
    text = text.replace("jpeg_quality: 95", f"jpeg_quality: {quality}")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    params = config.load(folder / "params.yaml")
    place = {"out": data / "faces" / "w300", "sheets": folder / "sheets", "journal": folder / "journal"}
    index.run(dataset="w300", raw=raw, **place, index=params.index, box=params.dataset["w300"].index)
    return folder


def tracks(folder: Path, release: Path, fps: float) -> Path:
    """A project with the crops of a release of VoxCeleb1."""
    data = folder / "data"
    raw = bring("voxceleb1", release, data / "raw" / "voxceleb1")
    (folder / "params.yaml").write_text(TEXT.replace("fps: 5.0  ", f"fps: {fps}  ", 1), encoding="utf-8")
    params = config.load(folder / "params.yaml")
    place = {"out": data / "tracks" / "voxceleb1", "sheets": folder / "sheets", "journal": folder / "journal"}
    of = {"crop": params.crop, "geometry": params.dataset["voxceleb1"].crop}
    crop.run(dataset="voxceleb1", raw=raw, **place, **of)
    return folder


def published(project: Path, dataset: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    assert cli.run(["fingerprint", str(project / "crops.parquet"), "--dataset", dataset]) == 0
    return project / "crops.parquet"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faces(tmp_path_factory.mktemp("here"))


def verified(here: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, *more: str) -> tuple[int, str]:
    """Exit status and what is printed on either side."""
    monkeypatch.chdir(here)
    capsys.readouterr()
    status = cli.run(["verify", str(table), *more])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_a_table_names_every_crop_and_its_own_project_finds_no_difference(here: Path, monkeypatch, capsys):
    table = published(here, "w300", monkeypatch)
    rows = pq.read_table(table).to_pylist()
    index_rows = tables.read(here / "data" / "faces" / "w300" / "index.parquet").to_pylist()
    for name in ("sample_id", "crop_xyxy_px", "width_px", "sha256"):
        assert [row[name] for row in rows] == [row[name] for row in index_rows]
    assert all(len(row["perceptual"]) == 16 for row in rows)
    assert crops.read(table).settings["dataset.w300.index.margin_frac"] == 0.1
    status, said = verified(here, table, monkeypatch, capsys)
    assert (status, said.splitlines()[0]) == (0, f"w300: 6 crops here, 6 in {table}, 6 on both sides")
    assert "every crop is the same" in said


def test_another_jpeg_quality_changes_bytes_but_no_box(here: Path, tmp_path: Path, monkeypatch, capsys):
    table = published(faces(tmp_path, quality=80), "w300", monkeypatch)
    status, said = verified(here, table, monkeypatch, capsys, "--out", "differences.parquet")
    assert status == cli.DIFFERENT
    assert "pixels: 6 differ" in said
    assert "boxes" not in said
    assert "missing" not in said
    assert "setting: index.jpeg_quality 95 here, 80 there" in said
    rows = tables.read(here / "differences.parquet", comparison.DIFFERENCES).to_pylist()
    assert {row["found"] for row in rows} == {"both"}
    assert all(row["edge_px"] == 0 and row["bits"] <= 4 for row in rows)


def test_another_margin_moves_every_box_and_changes_what_is_seen(here: Path, tmp_path: Path, monkeypatch, capsys):
    table = published(faces(tmp_path, margin=0.2), "w300", monkeypatch)
    status, said = verified(here, table, monkeypatch, capsys, "--out", "differences.parquet")
    assert status == cli.DIFFERENT
    assert "setting: dataset.w300.index.margin_frac 0.1 here, 0.2 there" in said
    ours, theirs = (pq.read_table(path)["crop_xyxy_px"].to_pylist() for path in (
        here / "data" / "faces" / "w300" / "index.parquet", table))  # fmt: skip
    rows = tables.read(here / "differences.parquet", comparison.DIFFERENCES).to_pylist()
    moved = [max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in zip(ours, theirs, strict=True)]
    assert [row["edge_px"] for row in rows] == moved
    assert f"boxes: 6 differ, in the median by {median(moved):g} px, at most by {max(moved):g} px" in said
    assert min(row["bits"] for row in rows) > 4


def test_crops_that_only_one_side_has_are_counted_on_the_side_that_lacks_them(
    here: Path, tmp_path: Path, monkeypatch, capsys
):
    table = published(faces(tmp_path, count=COUNT + 2), "w300", monkeypatch)
    status, said = verified(here, table, monkeypatch, capsys)
    assert status == 1
    assert said.startswith(f"error: {table} is of another version of w300 (release ")
    assert said.count("\n") == 1
    status, said = verified(here, table, monkeypatch, capsys, "--other-release")
    assert status == cli.DIFFERENT
    assert "missing: 2 here, 0 there" in said


def test_other_frames_of_the_same_tracks_are_told(tmp_path: Path, monkeypatch, capsys):
    release = voxceleb1(tmp_path / "release", frame_members(["A"]), ["A"])  # two tracks, a frame every 0.24 s
    few, many = (tracks(tmp_path / name, release, fps) for name, fps in (("few", 2.0), ("many", 5.0)))
    table = published(few, "voxceleb1", monkeypatch)
    assert pq.read_table(table)["frame"].to_pylist() == [6, 18, 6, 18]
    status, said = verified(many, table, monkeypatch, capsys)
    assert status == cli.DIFFERENT
    assert "missing: 0 here, 4 there" in said
    assert "frames: of 2 tracks other frames were kept" in said
    assert "setting: crop.fps 5.0 here, 2.0 there" in said


def test_a_crop_that_cannot_be_decoded_is_told(here: Path, tmp_path: Path, monkeypatch, capsys):
    table = published(here, "w300", monkeypatch)
    damaged = faces(tmp_path, quality=80)
    path = damaged / "data" / "faces" / "w300" / "index.parquet"
    row = tables.read(path).to_pylist()[0]
    with Shards(path.parent) as shards:
        assert shards.read(row["shard"], row["offset"], row["size"])
    with (path.parent / row["shard"]).open("r+b") as file:
        file.seek(row["offset"])
        file.write(bytes(row["size"]))
    status, said = verified(damaged, table, monkeypatch, capsys)
    assert status == cli.DIFFERENT
    assert "pixels: 6 differ" in said
    assert "; 1 cannot be decoded on one side" in said


def test_a_table_that_cannot_be_compared_is_one_sentence(here: Path, tmp_path: Path, monkeypatch, capsys):
    table = pq.read_table(published(here, "w300", monkeypatch))

    def refused(metadata: dict[bytes, str], rows: pa.Table = table) -> str:
        path = tmp_path / "table.parquet"
        pq.write_table(rows.replace_schema_metadata({**table.schema.metadata, **metadata}), path)
        status, said = verified(here, path, monkeypatch, capsys)
        assert status == 1
        assert said.count("\n") == 1
        return said.replace(str(path), "table")

    assert "table is a table of embeddings: expected a table of crops" in refused({b"kind": "embeddings"})
    assert "table has schema version 1, this project reads 2: " in refused({b"schema_version": "1"})
    assert "mafl/index.parquet is missing: run `dvc repro`" in refused({b"dataset": "mafl"})
    assert "no data set 'celeba': expected one of affectnet" in refused({b"dataset": "celeba"})
    assert "table cannot be read (" in refused({}, table.drop_columns("sha256"))
    (tmp_path / "words.parquet").write_text("words")
    assert "is not a readable Parquet file" in verified(here, tmp_path / "words.parquet", monkeypatch, capsys)[1]
    assert "does not exist: name a table that" in verified(here, tmp_path / "none.parquet", monkeypatch, capsys)[1]


@pytest.mark.parametrize(
    ("column", "cell", "clause"),
    [
        ("sha256", None, "the column sha256 has empty cells"),
        ("width_px", None, "the column width_px has empty cells"),
        ("sample_id", "ibug/1", "a sample_id stands there twice"),
        ("crop_xyxy_px", [0.0, None, 1.0, 1.0], "a box lacks an edge"),
        ("perceptual", "xyz", "a perceptual digest has 16 hexadecimal digits, found 'xyz'"),
        ("perceptual", "0" * 17, "a perceptual digest has 16 hexadecimal digits, found '"),
    ],
)
def test_a_cell_that_no_table_of_crops_has_is_one_sentence(
    here: Path, tmp_path: Path, monkeypatch, capsys, *, column: str, cell: Any, clause: str
):
    table = pq.read_table(published(here, "w300", monkeypatch))
    cells = [cell, *table[column].to_pylist()[1:]]
    place = table.column_names.index(column)
    path = tmp_path / "table.parquet"
    pq.write_table(table.set_column(place, column, pa.array(cells, table.schema.field(column).type)), path)
    status, said = verified(here, path, monkeypatch, capsys)
    assert (status, said.count("\n")) == (1, 1)
    assert f"{path} cannot be read ({clause}" in said


def test_settings_of_another_form_and_a_folder_are_one_sentence(here: Path, tmp_path: Path, monkeypatch, capsys):
    table = pq.read_table(published(here, "w300", monkeypatch))
    path = tmp_path / "table.parquet"
    for settings in ("3", '["crop"]'):
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"settings": settings}), path)
        status, said = verified(here, path, monkeypatch, capsys)
        assert (status, said.count("\n")) == (1, 1)
        assert f"{path} cannot be read (" in said
    assert f"{tmp_path} is a folder: name a table" in verified(here, tmp_path, monkeypatch, capsys)[1]


def test_the_same_crops_give_the_same_bytes(here: Path, monkeypatch):
    first = published(here, "w300", monkeypatch).read_bytes()
    assert published(here, "w300", monkeypatch).read_bytes() == first


def test_a_data_set_that_is_not_known_is_a_sentence():
    with pytest.raises(UserError, match="no data set 'faces': expected one of affectnet, aflw"):
        crops.here("faces")
