from pipelines.flows import summary
from stages.runtime import tables


def test_every_number_is_a_row_named_by_its_path():
    metrics = {"metrics.json": {"w300": {"fabnet": 5.7, "random": 9.1}, "n": 3}}
    assert summary.metric_rows(metrics) == [
        {"metric": "w300.fabnet", "value": 5.7},
        {"metric": "w300.random", "value": 9.1},
        {"metric": "n", "value": 3},
    ]


def test_rejects_are_counted_by_reason_in_files_and_folders(tmp_path):
    row = {"dataset": "w300", "key": "a", "stage": "index", "reason": "broken JPEG"}
    tables.write_rejects(tmp_path / "faces" / "rejects.parquet", [row, {**row, "key": "b"}])
    tables.write_rejects(tmp_path / "raw" / "rejects.parquet", [{**row, "stage": "fetch", "reason": "missing"}])
    outs = [
        tmp_path / "faces",
        tmp_path / "raw" / "rejects.parquet",
        tmp_path / "raw" / "manifest.json",
        tmp_path / "no",
    ]
    assert summary.reject_rows(outs) == [
        {"stage": "index", "dataset": "w300", "reason": "broken JPEG", "items": 2},
        {"stage": "fetch", "dataset": "w300", "reason": "missing", "items": 1},
    ]
