import pytest

from stages.releases.strangers import is_stranger

STRANGERS = [
    *(
        ".DS_Store",
        "a/.DS_Store",
        "._0000006.jpg",
        "a/._b/1.jpg",
        "__MACOSX/a/1.jpg",
        "a/@eaDir/1.jpg",
        "#recycle/1.jpg",
        "@__thumb/1.jpg",
        "@Recently-Snapshot/1.jpg",
    ),
    *(
        "Thumbs.db",
        "a\\THUMBS.DB",
        "ehthumbs_vista.db",
        "desktop.ini",
        "Icon\r",
        "x.jpg:Zone.Identifier",
        "~$list.xlsx",
    ),
    *("README", "a/readme.txt", "README_300W.pdf", "Read me.html", "LICENSE.txt", "VISITED", "a/VISITED", "shop.url"),
    *("$RECYCLE.BIN/1.jpg", "lost+found/1.jpg", "training.csv~", ".thumbnails/1.jpg"),
]
RELEASED = [
    *("1.jpg", "./1.jpg", "../1.jpg", "a/./b.jpg", "", "readme.jpg", "readme/1.jpg", "license.png", "license/1.jpg"),
    *("aflw.sqlite", "visited.jpg", "Icon/1.jpg", "thumbs/1.jpg", "image_092 _01.jpg", "training.csv", "a.b/c.d.jpg"),
]


@pytest.mark.parametrize("name", STRANGERS)
def test_what_programs_leave_beside_the_data_is_a_stranger(name):
    assert is_stranger(name)


@pytest.mark.parametrize("name", RELEASED)
def test_what_a_release_may_hold_is_no_stranger(name):
    assert not is_stranger(name)


@pytest.mark.parametrize(("name", "expected"), [("readme/", False), ("@eaDir/", True), (".git/", True)])
def test_a_folder_is_judged_by_the_rule_for_folders(name, expected):
    assert is_stranger(name) is expected
