import errno
import hashlib
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_server import mutated

from stages.runtime import tables
from stages.runtime.errors import UserError

ROWS = [{"sample_id": f"s{k}", "group_id": f"g{k % 2}", "split": "train"} for k in range(5)]


def test_rows_come_back_sorted_by_key(tmp_path):
    tables.write(tmp_path / "t.parquet", tables.SPLITS, reversed(ROWS), key=["sample_id"])
    assert tables.read(tmp_path / "t.parquet", tables.SPLITS).to_pylist() == ROWS


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path):
    for name, rows in (("a", ROWS), ("b", reversed(ROWS)), ("c", pa.Table.from_pylist(ROWS[::-1], tables.SPLITS))):
        tables.write(tmp_path / name, tables.SPLITS, rows, key=["sample_id"])
    assert len({hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in "abc"}) == 1


def test_where_the_chunks_of_a_table_end_does_not_show_in_the_bytes(tmp_path):
    rows = [{"sample_id": f"s{k:05}", "group_id": f"g{k % 99}", "split": "train"} for k in range(5000)]
    whole = pa.Table.from_pylist(rows, tables.SPLITS)
    chunked = pa.concat_tables([whole[start : start + 7] for start in range(0, 5000, 7)])
    for name, table in (("a", whole), ("b", chunked), ("c", chunked[::-1])):
        tables.write(tmp_path / name, tables.SPLITS, table, key=["sample_id"])
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1


def test_rows_without_a_key_come_last(tmp_path):
    table = pa.Table.from_pylist([ROWS[0] | {"sample_id": None}, *ROWS[:2]], tables.SPLITS)
    tables.write(tmp_path / "t", tables.SPLITS, table, key=["sample_id"])
    assert tables.read(tmp_path / "t")["sample_id"].to_pylist() == ["s0", "s1", None]


def test_only_the_wanted_columns_are_read(tmp_path):
    tables.write(tmp_path / "t", tables.SPLITS, ROWS, key=["sample_id"], metadata={"profile": "sample"})
    table = tables.read(tmp_path / "t", tables.columns(tables.SPLITS, ["split", "sample_id"]))
    assert table.column_names == ["split", "sample_id"]
    assert table.schema.metadata[b"profile"] == b"sample"
    data = bytearray((tmp_path / "t").read_bytes())
    place = pq.read_metadata(tmp_path / "t").row_group(0).column(1).dictionary_page_offset
    data[place : place + 20] = bytes(20)  # a column that cannot be read
    (tmp_path / "t").write_bytes(data)
    assert tables.read(tmp_path / "t", tables.columns(tables.SPLITS, ["split", "sample_id"])).equals(table)


def test_runs_of_equal_values_are_found_across_chunks():
    column = pa.chunked_array([["a", "a"], ["a", "b"], [], ["c", "a"]])
    assert [part.tolist() for part in tables.runs(column)] == [[0, 3, 4, 5], [3, 1, 1, 1]]
    assert [part.tolist() for part in tables.runs(pa.chunked_array([[]], pa.string()))] == [[], []]


def test_a_file_carries_the_schema_version_and_the_given_metadata(tmp_path):
    tables.write(tmp_path / "t", tables.SPLITS, ROWS, key=["sample_id"], metadata={"profile": "sample"})
    metadata = pq.read_schema(tmp_path / "t").metadata
    assert metadata[b"schema_version"] == tables.SCHEMA_VERSION.encode()
    assert metadata[b"profile"] == b"sample"


@pytest.mark.parametrize("rows", [ROWS + ROWS[:1], [{"sample_id": 1.5, "group_id": "g", "split": "train"}]])
def test_a_repeated_key_or_a_value_of_another_type_leaves_no_file(rows, tmp_path):
    with pytest.raises((ValueError, TypeError)):
        tables.write(tmp_path / "t", tables.SPLITS, rows, key=["sample_id"])
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_survives_a_failed_write(tmp_path):
    tables.write(tmp_path / "t", tables.SPLITS, ROWS, key=["sample_id"])
    with pytest.raises(ValueError, match="should be unique"):
        tables.write(tmp_path / "t", tables.SPLITS, ROWS + ROWS, key=["sample_id"])
    assert tables.read(tmp_path / "t").num_rows == len(ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_an_empty_table_keeps_its_columns(tmp_path):
    tables.Rejects("made").write(tmp_path / "rejects.parquet")
    assert tables.read(tmp_path / "rejects.parquet", tables.REJECTS).num_rows == 0


def test_equal_rejects_are_kept_once(tmp_path):
    rejects = tables.Rejects("crop")
    for key in ("k", "k", "a"):
        rejects.add("d", key, "too few frames", "found 1")
    rejects.write(tmp_path / "r")
    rows = [("d", "a", "crop", "too few frames", "found 1"), ("d", "k", "crop", "too few frames", "found 1")]
    assert [tuple(row.values()) for row in tables.read(tmp_path / "r", tables.REJECTS).to_pylist()] == rows


def test_rejects_of_an_earlier_stage_keep_its_name(tmp_path):
    earlier, later = tables.Rejects("fetch"), tables.Rejects("crop")
    earlier.add("d", "a", "unreadable file")
    earlier.write(tmp_path / "earlier")
    later.add("d", "b", "too few frames")
    later.include(tmp_path / "earlier")
    assert [(row["key"], row["stage"]) for row in later.rows] == [("b", "crop"), ("a", "fetch")]


def test_a_missing_file_is_a_user_error_that_names_the_command(tmp_path):
    with pytest.raises(UserError, match="is missing: run `dvc repro`"):
        tables.read(tmp_path / "none.parquet", tables.SPLITS)


def test_a_disk_that_fails_is_not_taken_for_a_damaged_table(tmp_path, monkeypatch):
    def fails(path: Path) -> None:
        raise OSError(errno.EIO, "Error reading bytes from file")

    monkeypatch.setattr(pq, "read_schema", fails)
    with pytest.raises(OSError, match="Input/output error") as caught:
        tables.read(tmp_path / "t", tables.SPLITS)
    assert caught.value.filename == str(tmp_path / "t")


def test_a_file_that_is_not_parquet_is_a_user_error(tmp_path):
    (tmp_path / "t").write_text("sample_id,split\n")
    with pytest.raises(UserError, match="is not a readable Parquet file"):
        tables.read(tmp_path / "t", tables.SPLITS)


@pytest.mark.parametrize("schema", [None, tables.SPLITS])
@pytest.mark.parametrize(("metadata", "found"), [({"schema_version": "1"}, "1"), (None, "none")])
def test_a_table_of_another_schema_version_is_refused(schema, metadata, found, tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS, schema=tables.SPLITS.with_metadata(metadata)), tmp_path / "t")
    with pytest.raises(UserError, match=f"should have schema version {tables.SCHEMA_VERSION}, found {found}: run `dvc"):
        tables.read(tmp_path / "t", schema)


@pytest.mark.parametrize("wanted", [pa.schema([("more", pa.string())]), pa.schema([("split", pa.int32())])])
def test_a_missing_column_or_another_type_is_a_user_error(wanted, tmp_path):
    tables.write(tmp_path / "t", tables.SPLITS, ROWS, key=["sample_id"])
    with pytest.raises(UserError, match=f"should have a column {wanted.names[0]}"):
        tables.read(tmp_path / "t", wanted)


def test_a_text_that_is_no_text_is_a_user_error(tmp_path):
    texts = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(bytes(4) + b"\1\0\0\0"), pa.py_buffer(b"\xff")])
    table = pa.table(dict.fromkeys(tables.REJECTS.names, texts))
    pq.write_table(table.replace_schema_metadata({tables.VERSION: tables.SCHEMA_VERSION}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="is not a readable Parquet file"):
        tables.read(tmp_path / "t.parquet", tables.REJECTS)


def test_label_columns_follow_the_face_columns_by_name():
    schema = tables.faces_schema({"pose": pa.float32(), "age": pa.int8()})
    assert schema.names == [*tables.FACES.names, "age", "pose"]


def test_a_damaged_table_is_a_user_error_that_says_how_to_get_it_back(tmp_path):
    path, draw, refused = tmp_path / "t.parquet", random.Random(3), set()
    rows = [{"dataset": f"d{k}", "key": f"k{k}", "stage": "s", "kind": "k", "detail": "d" * k} for k in range(40)]
    tables.write(path, tables.REJECTS, rows, key=["key"])
    intact = path.read_bytes()
    for _ in range(400):
        path.write_bytes(mutated(intact, draw))
        try:
            tables.read(path, tables.REJECTS)
        except UserError as error:
            refused.add(str(error))
    assert all(str(path) in sentence and "\n" not in sentence for sentence in refused)
    assert any("restore it by `dvc checkout`, or run `dvc repro --force`" in sentence for sentence in refused)
    assert len(refused) > 10
