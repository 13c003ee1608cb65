import time

import pytest

from stages.acquisition.answers import complaint, is_page

PAGES = [b"<html>", b"\n <!DOCTYPE html><p>", b"\xef\xbb\xbf<head>", b"<?xml version='1.0'?>\n<html lang=en>",
         b"<!-- a --><!-- b -->\n<BODY>"]  # fmt: skip


@pytest.mark.parametrize("head", PAGES)
def test_pages_are_told(head):
    assert is_page(head)
    assert complaint("a.zip", head, len(head)) == "an HTML page"


@pytest.mark.parametrize("head", [b"", b"PK\x03\x04", b"<", b"<!-- html -->", b"html", b"x <html>", b"<!-- <html>"])
def test_other_beginnings_are_not(head):
    assert not is_page(head)


@pytest.mark.parametrize("head", [b"<!---->" * 30 + b"x", b"<!-- " * 12_000, b"<!--x--> " * 7_000, b" " * 65_000])
def test_comments_are_passed_in_linear_time(head):
    started = time.process_time()
    assert not is_page(head)
    assert time.process_time() - started < 0.5


SUSPECT = {
    ("a.zip", b"Your key has expired.\n"): "text",
    ("a.tar.gz", b'{"error": "unknown key"}'): "text",
    ("vox2_dev_mp4_partab", b"<Error><Code>AccessDenied</Code></Error>"): "text",
    ("vox1_meta.csv", b"Your key has expired. Ask for another one.\n"): "a single line of text",
    ("vox1_meta.csv", b"Your key has expired.\nAsk for another one.\n"): "text without columns",
    ("training.txt", b'{"error":\n "unknown key"}\n'): "text of another kind",
    ("list.csv", b"<?xml version='1.0'?>\n<Error>AccessDenied</Error>\n"): "text of another kind",
    ("a.zip", b""): "an empty answer",
    ("list.txt", b""): "an empty answer",
}
FINE = {"a.zip": b"PK\x03\x04abc", "b_partab": b"abc\x00", "c.txt": b"1.jpg\n2.jpg\n", "d.csv": "é,ü\r\n1,2".encode(),
        "vox2_meta.csv": b"Id\tSet\nid1\tdev\n",
        "e.html": b"<html>", "f.json": b"{\n}", "README": b"one line"}  # fmt: skip


@pytest.mark.parametrize(("name", "head"), SUSPECT)
def test_what_cannot_be_the_file_is_told(name, head):
    assert complaint(name, head, len(head)) == SUSPECT[name, head]


@pytest.mark.parametrize("name", FINE)
def test_files_of_their_kind_pass(name):
    assert complaint(name, FINE[name], len(FINE[name])) == ""
