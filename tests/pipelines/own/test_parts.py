from pipelines.own import parts


def test_parts_after_a_gap_do_not_count(tmp_path):
    """A stop while finished parts are removed leaves some of them."""
    for number in (0, 1, 3, 4):
        (tmp_path / f"{number:08d}.parquet").touch()
    assert [path.stem for path in parts.finished(tmp_path)] == ["00000000", "00000001"]
    (tmp_path / "00000000.parquet").unlink()
    assert parts.finished(tmp_path) == []
