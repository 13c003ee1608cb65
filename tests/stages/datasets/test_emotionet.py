import hashlib
import zipfile

import openpyxl
import pytest
from media_samples import encoded, noise
from releases import bring, put

from stages.datasets.emotionet import ACTION_UNITS, Row, image_urls, lists_of, read, rows
from stages.releases.readers import Face, Reject
from stages.runtime.errors import UserError

NAME = "N_0000000201/N_0000000201_{:05d}.jpg"
HEADER = ["URL", "URL orig", *(f"'AU {unit}'" for unit in range(1, 61))]


def cells(number: int, present: tuple[int, ...] = (), unknown: tuple[int, ...] = (), urls: int = 2) -> list[str]:
    """URLs and 60 codes of image `number`."""
    name = NAME.format(number)
    codes = ["999" if unit in unknown else str(int(unit in present)) for unit in range(1, 61)]
    return [f"https://owner.example/Images/{name}", f"http://blog.example/{number}.png"][:urls] + codes


def automatic(*lines: list[str]) -> str:
    return "".join("\t".join(line) + "\n" for line in lines)


def quoted(line: list[str]) -> list[str]:
    return [f"'{cell}'" if "/" in cell else cell for cell in line]


def workbook(path, *lines: list[str]) -> None:
    book = openpyxl.Workbook()
    for line in lines:
        book.worksheets[0].append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def items(release, raw, images=range(1, 10)) -> list[Face | Reject]:
    for number in images:
        put(release / "images" / NAME.format(number), encoded(noise(40, 40, number)))
    return list(read(bring("emotionet", release, raw)).items)


def faces(found: list[Face | Reject]) -> dict[int, tuple[str, list[int | None]]]:
    return {
        int(face.sample_id[-9:-4]): (face.owner_split, face.labels["action_units"])
        for face in found
        if isinstance(face, Face)
    }


def test_automatic_list_has_no_header_and_unit_k_in_column_k_plus_1(tmp_path):
    put(tmp_path / "r" / "dataFile_1000.txt", automatic(cells(1, present=(1, 26)), cells(2, present=(2, 60))))
    found = faces(items(tmp_path / "r", tmp_path / "raw"))
    assert found[1] == ("train", [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    assert found[2] == ("train", [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])


def test_999_is_unknown_and_never_absent(tmp_path):
    put(tmp_path / "r" / "dataFile_1000.txt", automatic(cells(1, (5,), (4, 26)), cells(2, (), tuple(range(1, 61)))))
    found = items(tmp_path / "r", tmp_path / "raw")
    assert faces(found)[1][1] == [0, 0, None, 1, 0, 0, 0, 0, 0, 0, None]
    assert [item.kind for item in found if isinstance(item, Reject)] == ["no annotation"]


@pytest.mark.parametrize("kind", ["xlsx", "csv", "older csv"])
def test_every_version_of_the_manual_list_is_the_test_split(kind, tmp_path):
    put(tmp_path / "r" / "dataFile_1000.txt", automatic(cells(1), cells(2)))
    lines = [quoted(cells(number, (12,), (25,))) for number in (3, 4)]
    if kind == "xlsx":
        workbook(tmp_path / "r" / "EmotioNet_FACS_aws_2020_24600.xlsx", HEADER, *lines, ["nan"] * 62)
    elif kind == "csv":
        text = "\n".join(",".join(line) for line in (HEADER, *lines, [""] * 62))
        put(tmp_path / "r" / "EmotioNet_FACS_aws_2020_24600.csv", "\ufeff" + text)
    else:
        text = "\r\n".join(",".join(cells(number, (12,), (25,), urls=1)) for number in (3, 4))
        put(tmp_path / "r" / "EmotioNet_FACS.csv", text)
    found = items(tmp_path / "r", tmp_path / "raw")
    assert {number: split for number, (split, _) in faces(found).items()} == {
        1: "train",
        2: "train",
        3: "test",
        4: "test",
    }
    assert faces(found)[3][1] == [1 if unit == 12 else None if unit == 25 else 0 for unit in ACTION_UNITS]
    rejects = [item.kind for item in found if isinstance(item, Reject)]
    assert rejects == ([] if kind == "older csv" else ["no image name"])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_list_that_a_spreadsheet_has_saved_again_is_read(separator, tmp_path):
    lines = [separator.join(line) for line in (HEADER, quoted(cells(3, (12,), (25,))))]
    put(tmp_path / "EmotioNet_FACS.csv", "\r\n".join(lines).encode("utf-16"))
    (found,) = rows(tmp_path / "EmotioNet_FACS.csv")
    assert found.units == tuple(1 if unit == 12 else None if unit == 25 else 0 for unit in ACTION_UNITS)
    put(tmp_path / "dataFile_1000.txt", separator.join(cells(4, (1,))).encode("utf-16"))
    (found,) = rows(tmp_path / "dataFile_1000.txt")
    assert found.units == tuple(int(unit == 1) for unit in ACTION_UNITS)


def test_first_automatic_list_is_the_test_list_without_a_manual_one(tmp_path):
    put(tmp_path / "r" / "dataFile_1000.txt", automatic(cells(1)))
    put(tmp_path / "r" / "dataFile_1001.txt", automatic(cells(2)))
    found = faces(items(tmp_path / "r", tmp_path / "raw"))
    assert {number: split for number, (split, _) in found.items()} == {1: "test", 2: "train"}


def test_newest_manual_list_is_read_and_its_export_preferred():
    names = ["EmotioNet_FACS.csv", "EmotioNet_FACS_aws_2020_24600.xlsx", "dataFile_1000.txt"]
    assert lists_of(names) == [(names[1], "test"), (names[2], "train")]
    export = "EmotioNet_FACS_aws_2020_24600.csv"
    assert lists_of([*names, export])[0] == (export, "test")
    assert lists_of(["EmotioNet_FACS_aws_2020_24600_without_passw.xlsx"])[0][1] == "test"


def test_image_in_both_lists_is_returned_as_a_test_image_first(tmp_path):
    put(tmp_path / "r" / "dataFile_1001.txt", automatic(cells(3)))
    put(tmp_path / "r" / "EmotioNet_FACS.csv", ",".join(cells(3, (1,), urls=1)))
    found = items(tmp_path / "r", tmp_path / "raw")
    assert [face.owner_split for face in found if isinstance(face, Face)] == [
        "test",
        "train",
    ]  # packing rejects the second


def test_invalid_rows_are_rejects(tmp_path):
    short, odd, stray = cells(1)[:40], cells(2), cells(3)
    odd[5], stray[:2] = "2", ["blog/a.gif", "/a.gif"]
    put(tmp_path / "r" / "dataFile_1000.txt", automatic(short, odd, stray, cells(77), cells(4)))
    put(tmp_path / "r" / "dataFile_1001.txt", b"")
    found = items(tmp_path / "r", tmp_path / "raw")
    assert [item.kind for item in found if isinstance(item, Reject)] == [
        "row of another length", "unknown annotation", "no image name", "no such image", "empty list",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xd0\xcf\x11\xe0" + bytes(600), "protected by a password"),
        (b"PK\x03\x04 cut", "is not a workbook"),
        (b"", "is not a workbook"),
    ],
)
def test_unreadable_workbook_raises_an_error(data, message, tmp_path):
    with pytest.raises(UserError, match=message):
        list(rows(put(tmp_path / "EmotioNet_FACS.xlsx", data)))


SHEET = "xl/worksheets/sheet1.xml"


def changed_workbook(path, change, method=zipfile.ZIP_DEFLATED):
    """A workbook whose sheet went through `change`, packed by `method`."""
    workbook(path.with_name("intact.xlsx"), HEADER, cells(1))
    with zipfile.ZipFile(path.with_name("intact.xlsx")) as intact, zipfile.ZipFile(path, "w", method) as changed:
        for name in intact.namelist():
            changed.writestr(name, change(intact.read(name)) if name == SHEET else intact.read(name))
    return path


CHANGES = {
    "not XML": lambda data: b"<html>",
    "cut": lambda data: data[: len(data) // 2],
    "a row far away": lambda data: data.replace(b'r="2"', b'r="99999999999"'),
    "a column far away": lambda data: data.replace(b'r="BJ2"', b'r="ZZZZZZZ2"'),
    "a cell whose text is missing": lambda data: data.replace(b't="inlineStr"><is><t>0</t></is>', b't="s"><v>9</v>'),
    "a cell without a place": lambda data: data.replace(b'r="BJ2"', b'r="2BJ"'),
    "not UTF-8": lambda data: data.replace(b"<sheetData>", b"<sheetData>\xff"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_workbook_with_a_damaged_sheet_is_one_sentence(how, tmp_path):
    path = changed_workbook(tmp_path / "EmotioNet_FACS.xlsx", CHANGES[how])
    with pytest.raises(UserError, match=r"EmotioNet_FACS\.xlsx .*(download it again|export it as csv)"):
        list(rows(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_workbook_with_a_spoilt_member_is_one_sentence(method, tmp_path):
    path = changed_workbook(tmp_path / "EmotioNet_FACS.xlsx", bytes, method)
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(SHEET).header_offset + 30 + len(SHEET)
    data = bytearray(path.read_bytes())
    data[at : at + 200] = bytes(range(7, 207))
    with pytest.raises(UserError, match="is not a workbook, or is damaged"):
        list(rows(put(path, bytes(data))))


def test_a_list_of_the_owner_that_is_cut_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.datasets.emotionet.PUBLISHED", {"test": 2, "train": 2})
    put(tmp_path / "r" / "EmotioNet_FACS.csv", ",".join(quoted(cells(1, (1,), urls=1))) + "\n")
    put(tmp_path / "r" / "dataFile_1000.txt", automatic(cells(2, (1,)), cells(3, (1,))))
    (reject,) = (item for item in items(tmp_path / "r", tmp_path / "raw") if isinstance(item, Reject))
    assert (reject.key, reject.kind) == ("1 of 2", "incomplete: test")


def test_owners_url_comes_first(tmp_path):
    (row,) = rows(put(tmp_path / "dataFile_1000.txt", automatic(cells(1))))
    assert not isinstance(row, Reject)
    assert row.urls == tuple(cells(1)[:2])
    assert row.name == NAME.format(1)


def test_images_of_older_releases_are_named_after_their_url(tmp_path):
    blogs = ["http://blog.example/a.gif", "http://blog.example/b.png?width=500", "https://tumblr.example/1/c"]
    lines = [[blog, "http://elsewhere.example/x.jpg", *cells(1, (9,))[2:]] for blog in blogs]
    put(tmp_path / "r" / "dataFile_1001.txt", automatic(*lines, cells(4)))
    put(tmp_path / "r" / "EmotioNet_FACS.csv", ",".join([blogs[0], *cells(1, (12,))[2:]]))
    names = [f"by_address/{hashlib.sha256(blog.encode()).hexdigest()[:32]}" for blog in blogs]
    for number, name in enumerate(names[:2]):
        put(tmp_path / "r" / "images" / name, encoded(noise(40, 40, number)))
    found = items(tmp_path / "r", tmp_path / "raw", images=[4])
    assert [(item.sample_id, item.owner_split) for item in found if isinstance(item, Face)] == [
        (names[0], "test"),  # the second row of the same image is rejected when it is packed
        (names[0], "train"),
        (names[1], "train"),
        (NAME.format(4), "train"),
    ]
    assert [item.key for item in found if isinstance(item, Reject)] == [names[2]]
    files = {name: tmp_path / "r" / name for name in ("dataFile_1001.txt", "EmotioNet_FACS.csv")}
    assert [name.removeprefix("images/") for name, _ in image_urls(files)] == [*names, NAME.format(4)]


def test_numbers_of_thousands_of_digits_are_neither_units_nor_names(tmp_path):
    url = f"http://blog.example/N_{'9' * 5000}_{'9' * 5000}.jpg"
    path = put(tmp_path / "EmotioNet_FACS_x.csv", ",".join([url, *HEADER[1:], f"AU {'9' * 5000}"]) + "\n")
    assert [item.kind for item in rows(path) if isinstance(item, Reject)] == []
    path = put(tmp_path / "dataFile_1.txt", automatic([url, "x/y", *["0"] * 60]))
    (row,) = rows(path)
    assert isinstance(row, Row)
    assert row.name.startswith("by_address/")
