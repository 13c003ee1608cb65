from stages.storage import journals


def test_the_fingerprint_depends_on_every_ingredient(tmp_path):
    base = journals.folder(tmp_path, "crop", "voxceleb1", "a", b"b")
    assert base == journals.folder(tmp_path, "crop", "voxceleb1", "a", "b")
    assert base.parent == tmp_path / "crop" / "voxceleb1"
    others = [("a", "c"), ("ab",), ("a", "b", "")]
    assert len({base, *(journals.folder(tmp_path, "crop", "voxceleb1", *some) for some in others)}) == 4


def test_the_result_replaces_an_older_one(tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "new").touch()
    (tmp_path / "data" / "out").mkdir(parents=True)
    (tmp_path / "data" / "out" / "old").touch()
    journals.move_into_place(tmp_path / "result", tmp_path / "data" / "out")
    assert [path.name for path in (tmp_path / "data" / "out").iterdir()] == ["new"]
    assert not (tmp_path / "result").exists()
