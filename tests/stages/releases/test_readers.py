from pathlib import Path

import pytest
from releases import put

from stages.releases import readers
from stages.releases.readers import Reject
from stages.runtime import limits
from stages.runtime.errors import Rejected, UserError
from stages.runtime.limits import Limits


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "",
        ".",
        "C:\\x",
        "a\\..\\x",
        "\\\\host\\x",
        "c:/x",
        "a\nb",
        "caf\udce9",
        256 * "x",
    ],
)
def test_unsafe_and_unprintable_names_are_rejected(name):
    with pytest.raises(Rejected, match="name"):
        readers.safe_path(name)


def test_safe_names_are_kept():
    assert readers.safe_path("./a/b 1.jpg") == "a/b 1.jpg"
    assert readers.safe_path("Müller/1.jpg") == "Müller/1.jpg"
    assert readers.safe_path(".\\a\\b.jpg") == "a/b.jpg"
    assert readers.safe_path("a/" + 255 * "x") == "a/" + 255 * "x"


@pytest.mark.parametrize("text", ['{"files": [{"name', "[]", '{"files": [{"name": 1, "sha256": "0"}]}', 3000 * "["])
def test_a_damaged_manifest_is_a_user_error_that_says_how_to_make_it_again(text, tmp_path):
    put(tmp_path / "manifest.json", text)
    with pytest.raises(UserError, match=r"manifest\.json is damaged: remove it, and run `dvc repro --force fetch`"):
        readers.sha256_by_name(tmp_path)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_both_csv_dialects_are_read(tmp_path, newline, mark):
    tabs = put(tmp_path / "a.csv", mark + newline.join(["ID\tName", "id1\tA.J._Buckley", ""]))
    blanks = put(tmp_path / "b.csv", mark + newline.join(["ID ,Name ", "id1 ,A.J._Buckley ", ""]))
    expected = [{"ID": "id1", "Name": "A.J._Buckley"}]
    assert list(readers.records(tabs, "\t", ["ID"])) == expected
    assert list(readers.records(blanks, ",", ["ID"])) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_that_a_spreadsheet_has_saved_again_is_read(tmp_path, encoding, separator):
    text = separator.join(["ID", "Name"]) + "\r\n" + separator.join(["id1", "Zoë"]) + "\r\n"
    path = put(tmp_path / "a.csv", text.encode(encoding))
    assert list(readers.records(path, ",", ["ID"])) == [{"ID": "id1", "Name": "Zoë"}]


def test_a_text_that_ends_in_half_a_letter_keeps_its_other_lines(tmp_path):
    path = put(tmp_path / "a.txt", "a.jpg\nb.jpg".encode("utf-16")[:-1])
    assert readers.text_lines(path) == ["a.jpg", "b.jp\ufffd"]


def test_a_list_that_is_far_too_large_is_one_sentence_unread(tmp_path, monkeypatch):
    path = put(tmp_path / "a.csv", "")
    with path.open("r+b") as file:
        file.truncate(2**40)  # more than any memory holds, and nothing on the disk
    with pytest.raises(UserError, match=r"at most 536870912 bytes, found 1099511627776: .* raise limits\.list_mib"):
        readers.text_lines(path)
    monkeypatch.setattr(limits, "_now", Limits(list_mib=1e-5))
    with pytest.raises(UserError, match="at most 10 bytes, found 11"):
        readers.text_lines(put(tmp_path / "b.csv", "0123456789a"))


@pytest.mark.parametrize("end", ["\n", "\r", "\x1e", "\x85", "\u2028"])
def test_a_list_of_line_ends_takes_little_memory(end, tmp_path):
    path = put(tmp_path / "a.txt", (end * 5_000_001).encode())
    with pytest.raises(UserError, match="a list of at most 5000000 lines, found 5000001"):
        readers.text_lines(path)


def test_a_line_without_an_end_is_cut_and_the_others_are_kept(tmp_path):
    path = put(tmp_path / "a.txt", "a.jpg\n" + "b " * 10**6 + "\nc.jpg\n")
    first, long, last = readers.text_lines(path)
    assert (first, last) == ("a.jpg", "c.jpg")
    assert len(long) == readers.MAX_LINE


def test_missing_table_and_missing_header_raise_an_error(tmp_path):
    with pytest.raises(UserError, match="a header that names 'ID'"):
        list(readers.records(put(tmp_path / "a.csv", "id1,x\n"), ",", ["ID"]))
    with pytest.raises(UserError, match="a header that names 'ID'"):
        list(readers.records(put(tmp_path / "b.csv", ""), ",", ["ID"]))
    with pytest.raises(UserError, match="is missing"):
        list(readers.records(tmp_path / "c.csv", ",", ["ID"]))


def test_short_rows_and_bytes_that_are_not_utf8_do_not_stop_a_table(tmp_path):
    path = put(tmp_path / "a.csv", b"ID,Name\nid1\nid2,Andr\xe9\n")
    short, latin1 = readers.records(path, ",", ["ID"])
    assert isinstance(short, Reject)
    assert not isinstance(latin1, Reject)
    assert readers.printable(latin1["Name"]) == "Andr\\udce9"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("999999.5", 999999.5),
        (" -3 ", -3),
        ("1e6", None),
        ("-1000000.5", None),
        ("nan", None),
        ("inf", None),
        ("", None),
    ],
)
def test_a_number_is_finite_and_below_a_million(text, value):
    assert readers.number(text) == value
    assert readers.number("2.5", 2.5) is None


def test_the_shortest_name_that_ends_in_a_required_file_is_taken():
    names = ["deep/copy/list.csv", "deep/list.csv", "list.csv.bak", "deep/images/1.jpg"]
    assert readers.required(Path("raw"), names, "list.csv", "a list") == "deep/list.csv"
    assert readers.required(Path("raw"), names, "images/", "images") == "deep/images/"


def test_the_folder_within_a_folder_of_its_name_is_taken_if_it_holds_more():
    names = ["images/note.csv", "images/images/1.jpg", "images/images/2.jpg"]
    assert readers.nearest(names, "images/") == "images/images/"
    assert readers.nearest([*names, "images/1.jpg", "images/2.jpg"], "images/") == "images/"


def test_the_folder_within_a_folder_of_its_name_is_not_taken_if_it_holds_half():
    assert readers.nearest(["images/1.jpg", "images/images/2.jpg"], "images/") == "images/"


def test_an_annotation_is_read_up_to_its_largest_size(tmp_path):
    path = put(tmp_path / "a.pts", b"12345")
    assert readers.annotation(path, 5) == b"12345"
    with pytest.raises(Rejected, match=r"a\.pts has 5 bytes, expected at most 4"):
        readers.annotation(path, 4)
    for absent in (tmp_path / "b.pts", path / "c.pts", tmp_path):
        with pytest.raises(Rejected, match=f"there is no file {absent.name}"):
            readers.annotation(absent, 2**20)


def test_a_line_that_was_partly_overwritten_has_no_cells():
    assert readers.cells("a, b ,c") == ["a", "b", "c"]
    assert readers.cells("a,\0,c") == readers.cells("") == []


def test_capitals_count_only_where_both_spellings_are_there():
    names = ["IMAGES/1.jpg", "deep/List.csv"]
    assert [readers.nearest(names, wanted) for wanted in ("images/", "list.csv")] == ["IMAGES/", "deep/List.csv"]
    assert readers.nearest([*names, "deep/images/1.jpg"], "images/") == "deep/images/"


def test_a_required_file_that_is_missing_is_named():
    with pytest.raises(UserError, match=r"^raw should hold list\.csv and images/: found no list\.csv$"):
        readers.required(Path("raw"), ["list.txt"], "list.csv", "list.csv and images/")
