import io
import random
import zipfile
from pathlib import Path

import pytest
from releases import in_parts, put, zip_bytes

from stages.releases import joined


def test_parts_are_read_as_one_file_from_any_position(tmp_path):
    whole = random.Random(0).randbytes(1000)
    paths = in_parts(tmp_path, "x", whole, 7)
    with io.BufferedReader(joined.files(paths), 64) as file:
        for seed in range(200):
            at, size = random.Random(seed).randrange(1100), random.Random(seed + 1).randrange(400)
            file.seek(at)
            assert file.read(size) == whole[at : at + size]
        assert file.seek(-10, io.SEEK_END) == 990
        assert file.read() == whole[-10:]


def test_bytes_after_the_files_are_read_as_a_last_part(tmp_path):
    with io.BufferedReader(joined.files(in_parts(tmp_path, "x", b"abcdef", 2), b"ghi"), 2) as file:
        assert file.read() == b"abcdefghi"
        file.seek(-2, io.SEEK_END)
        assert file.read() == b"hi"
        file.seek(5)
        assert file.read(2) == b"fg"


def test_seeking_before_the_start_raises_and_reading_behind_the_end_is_empty(tmp_path):
    with joined.files(in_parts(tmp_path, "x", b"abcdef", 2)) as file:
        with pytest.raises(OSError, match="negative seek position -1"):
            file.seek(-1)
        file.seek(7)
        assert file.read(1) == b""


def test_a_position_may_be_given_from_the_start_from_here_or_from_the_end(tmp_path):
    with joined.files(in_parts(tmp_path, "x", b"abcdef", 2)) as file:
        assert [file.seek(2), file.seek(1, io.SEEK_CUR), file.tell(), file.read(1)] == [2, 3, 3, b"d"]
        assert [file.seek(-6, io.SEEK_END), file.read(1), file.seek(-1, io.SEEK_CUR)] == [0, b"a", 0]


def test_archive_is_read_through_any_function_that_returns_bytes():
    whole = zip_bytes({"a": b"1" * 100, "b": b"2" * 100})
    requests: list[tuple[int, int, int]] = []

    def read(part: int, start: int, count: int) -> bytes:
        requests.append((part, start, count))
        return whole[100 * part :][:100][start : start + min(count, 7)]

    sizes = [len(whole[at : at + 100]) for at in range(0, len(whole), 100)]
    with io.BufferedReader(joined.Joined(sizes, read), 16) as file, zipfile.ZipFile(file) as archive:
        assert archive.read("b") == b"2" * 100
    assert all(start + count <= sizes[part] for part, start, count in requests)


def test_files_are_closed_also_if_one_cannot_be_opened(tmp_path):
    open_before = sorted(Path("/dev/fd").iterdir())
    file = joined.files([put(tmp_path / "a", b"1")])
    file.close()
    file.close()
    with pytest.raises(FileNotFoundError):
        joined.files([tmp_path / "a", tmp_path / "b"])
    assert sorted(Path("/dev/fd").iterdir()) == open_before
