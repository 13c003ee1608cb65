"""Lists as people's programs write them, and names that systems have changed."""

import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from pipelines.own import sources
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[3]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]
LATIN = "Jürgen.jpg"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(path):
    return [found.relative_to(path.parent).as_posix() for found in sources.files([path])]


def write(path, text, encoding="utf-8", newline="\n"):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + text.replace("\n", newline)).encode(encoding))
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_list_is_read_in_every_encoding_that_says_what_it_is(folder, encoding, newline):
    (folder / LATIN).touch()
    text = f"{LATIN}\na.mp4\n"
    assert names(write(folder / "list.txt", text, encoding, newline)) == [LATIN, "a.mp4"]
    assert names(write(folder / "list.csv", f"label;file\n1;{LATIN}\n", encoding, newline)) == [LATIN]


def test_utf_16_without_its_mark_is_one_sentence(folder):
    (folder / "list.txt").write_bytes("a.mp4\n".encode("utf-16-le"))
    with pytest.raises(UserError, match=r"list\.txt should be text, found zero bytes: save it as UTF-8"):
        names(folder / "list.txt")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "table",
    ["file|label\na.mp4|1\ndeep/c.png|2\n", "label|File Name\n1|a.mp4\n2|deep/c.png\n", "a.mp4|1\ndeep/c.png|2\n",
     '"id"|"Path"\n"1"|"a.mp4"\n"2"|"deep/c.png"\n'],
)  # fmt: skip
def test_a_table_is_read_with_the_separator_that_its_first_line_shows(folder, table, separator):
    path = write(folder / "list.csv", table.replace("|", separator))
    assert names(path) == ["a.mp4", "deep/c.png"]


def test_a_table_that_excel_has_exported_as_text_is_read(folder):
    assert names(write(folder / "list.txt", "file\tlabel\na.mp4\t1\n", "utf-16", "\r\n")) == ["a.mp4"]
    assert names(write(folder / "list.csv", "sep=;\nfile;label\na.mp4;1\n")) == ["a.mp4"]


@pytest.mark.parametrize("header", ["id,image_path", "clip;label", "1,name.jpg", "subject\tlocation"])
def test_a_header_that_names_no_column_of_files_is_one_sentence(folder, header):
    path = write(folder / "list.csv", f"{header}\n1,a.mp4\n")
    with pytest.raises(UserError) as told:
        names(path)
    assert str(told.value) == (
        f"{path} has no column file, path, source, filename, video or image: found {header}; "
        "call the column that names the files `file`"
    )


def test_rows_that_name_no_file_are_counted(folder, caplog):
    with caplog.at_level(logging.WARNING):
        assert names(write(folder / "list.csv", "label,file\n1,a.mp4\nbroken\n3,\n")) == ["a.mp4"]
    assert "list.csv: 2 rows name no file" in caplog.text


def test_names_with_separators_need_no_quotes_where_they_stand_alone(folder):
    (folder / "one, two.mp4").touch()
    assert names(write(folder / "list.csv", "one, two.mp4\na.mp4\n")) == ["one, two.mp4", "a.mp4"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_finds_the_file_whose_accents_are_composed_otherwise(folder, forms):
    in_list, on_disk = (unicodedata.normalize(form, "Élodie/Jürgen.jpg") for form in forms)
    (folder / on_disk).parent.mkdir()
    (folder / on_disk).touch()
    assert names(write(folder / "list.txt", f"{in_list}\n")) == [on_disk]


@pytest.mark.parametrize(
    ("in_list", "on_disk"),
    [
        ("deep\\d.mp4", "deep/d.mp4"),  # folders as Windows separates them
        ("IMG_1.JPG", "img_1.jpg"),
        ("12:30 What?.mp4", "12_30 What_.mp4"),
        ("end. /e.mp4", "end/e.mp4"),
        ("x" * 300 + ".mp4", "x" * 200 + ".mp4"),  # no system has room for the whole name
    ],
)
def test_a_name_finds_the_file_that_windows_has_renamed(folder, in_list, on_disk):
    (folder / on_disk).parent.mkdir(exist_ok=True)
    (folder / on_disk).touch()
    assert names(write(folder / "list.txt", f"{in_list}\n")) == [on_disk]


def test_letters_of_windows_find_the_file_in_utf_8_and_the_other_way_round(folder):
    (folder / LATIN).touch()
    (folder / "list.txt").write_bytes(LATIN.encode("cp1252"))
    assert names(folder / "list.txt") == [LATIN]
    (folder / LATIN).unlink()
    raw = os.fsencode(folder) + b"/" + LATIN.encode("cp1252")
    os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    (found,) = sources.files([write(folder / "list.txt", LATIN)])
    assert os.fsencode(found) == raw


@pytest.mark.parametrize(
    ("in_list", "on_disk"),
    [
        (["face_10.jpg"], ["face_1.jpg"]),  # the beginning of a name is not that name
        (["A.jpg"], ["a.JPG", "a.jpg"]),  # which of them
        (["a.jpg", "A.jpg"], ["a.jpg"]),  # both are named, one is there
        (["who?.jpg", "who*.jpg"], ["who_.jpg"]),
        (["y" * 300 + ".jpg"], ["y" * 200 + ".jpg", "y" * 201 + ".jpg"]),
    ],
)
def test_a_name_that_could_mean_another_file_stays_as_it_is(tmp_path, caplog, in_list, on_disk):
    for name in on_disk:
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert names(write(tmp_path / "list.txt", "\n".join(in_list))) == in_list
    assert "of its files are not there, such as " in caplog.text


def test_the_file_that_a_name_may_have_become_is_told(tmp_path, caplog):
    (tmp_path / "interview with An.mp4").touch()
    with caplog.at_level(logging.WARNING):
        names(write(tmp_path / "list.txt", "interview with Anna.mp4\nother.mp4\n"))
    assert (
        "2 of its files are not there, such as interview with Anna.mp4; interview with Anna.mp4 may be" in caplog.text
    )
    assert "interview with An.mp4: write the name as it is" in caplog.text


def test_a_folder_that_cannot_be_listed_is_still_read_by_exact_names(folder):
    (folder / "deep").chmod(0o111)
    try:
        assert names(write(folder / "list.txt", "deep/c.png\n")) == ["deep/c.png"]
    finally:
        (folder / "deep").chmod(0o755)


SHOWN = """
import sys
from pathlib import Path
from pipelines.own import listed, sources
from stages.runtime import command
def show():
    for path in sources.files([Path("list.txt")]):
        print(sys.getfilesystemencoding(), path.exists(), ascii(listed.shown(path)), "Jürgen")
sys.exit(command.guarded(show))
"""


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_beyond_ascii_are_found_in_every_locale(tmp_path, locale, form):
    (tmp_path / LATIN).touch()
    write(tmp_path / "list.txt", unicodedata.normalize(form, LATIN) + "\n")
    settings = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    (tmp_path / "show.py").write_text(SHOWN, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "show.py"], cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, check=True
    )
    encoding, exists, shown, printed = done.stdout.decode().split()
    assert (encoding, printed) == (("ascii", "J\\xfcrgen") if locale == "C" else ("utf-8", "Jürgen"))
    assert (exists, shown) == ("True", ascii(LATIN))
