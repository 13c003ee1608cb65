from pipelines.flows import summary
from stages.runtime import tables


def test_every_task_is_a_row_with_the_values_of_all_methods():
    fabnet, random = {"w300": {"landmarks": 5.7}, "mafl": {"landmarks": 3.4}}, {"w300": {"landmarks": 9.1}}
    assert summary.metric_rows({"metrics/fabnet.json": fabnet, "metrics/random.json": random}) == [
        {"metric": "w300.landmarks", "fabnet": 5.7, "random": 9.1},
        {"metric": "mafl.landmarks", "fabnet": 3.4, "random": None},
    ]


def test_rejects_are_counted_by_kind_in_files_and_folders(tmp_path):
    indexed, fetched = tables.Rejects("index"), tables.Rejects("fetch")
    indexed.add("w300", "a", "box is damaged", "no numbers")
    indexed.add("w300", "b", "box is damaged", "inside out")
    indexed.write(tmp_path / "faces" / "rejects.parquet")
    fetched.add("w300", "a", "unreadable file")
    fetched.write(tmp_path / "raw" / "rejects.parquet")
    outs = [
        tmp_path / "faces",
        tmp_path / "raw" / "rejects.parquet",
        tmp_path / "raw" / "manifest.json",
        tmp_path / "no",
    ]
    assert summary.reject_rows(outs) == [
        {"stage": "index", "dataset": "w300", "kind": "box is damaged", "items": 2},
        {"stage": "fetch", "dataset": "w300", "kind": "unreadable file", "items": 1},
    ]


def test_framing_is_a_row_for_each_data_set_with_a_warning_where_faces_differ(tmp_path):
    trained = {"kind": "face tracks", "dataset": "all", "n": 60, "missed": 0, "face_frac": 0.7, "difference": 0.0}
    apart = {"kind": "still images", "dataset": "w300", "n": 50, "missed": 10, "face_frac": 0.861, "difference": 0.23}
    lost = {"kind": "still images", "dataset": "mafl", "n": 0, "missed": 60, "is_apart": False}
    rows = [{**trained, "is_apart": False}, {**apart, "is_apart": True}, lost]
    tables.write(tmp_path / "framing.parquet", tables.FRAMING, rows, key=["kind", "dataset"])
    shown = summary.framing_rows([tmp_path, tmp_path / "no"])
    assert [tuple(row.values()) for row in shown] == [
        ("face tracks", "all", 0.7, "+0%", "", 60, 0),
        ("still images", "mafl", None, None, "", 0, 60),
        ("still images", "w300", 0.86, "+23%", "another margin would bring them together", 50, 10),
    ]
