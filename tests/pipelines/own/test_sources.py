import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from media_samples import encoded, noise

from pipelines.own import sources
from stages.runtime.errors import Rejected, UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.JPG", "a.mp4", "notes.md", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(folder, *named):
    return [path.relative_to(folder).as_posix() for path in sources.files([folder / name for name in named])]


def test_a_folder_stands_for_its_images_and_videos_by_name(folder):
    assert names(folder, "") == ["a.mp4", "b.JPG", "deep/c.png"]


def test_a_file_that_is_named_twice_is_read_once(folder):
    assert names(folder, "b.JPG", "", "a.mp4") == ["b.JPG", "a.mp4", "deep/c.png"]


def test_a_text_list_names_one_file_a_line_beside_itself(folder):
    (folder / "list.txt").write_text("deep/c.png\n\n my clip, 2.mp4 \n", encoding="utf-8")
    assert names(folder, "list.txt") == ["deep/c.png", "my clip, 2.mp4"]


@pytest.mark.parametrize(
    "text",
    ["a.mp4\ndeep/c.png\n", "a.mp4,desk\ndeep/c.png,door\n", "camera,File\ndesk,a.mp4\ndoor,deep/c.png\nbroken\n"],
)
def test_a_csv_names_files_in_the_column_of_its_header_or_in_the_first(folder, text):
    (folder / "list.csv").write_text(text, encoding="utf-8")
    assert names(folder, "list.csv") == ["a.mp4", "deep/c.png"]


@pytest.mark.parametrize(
    ("name", "sentence"), [("gone.mp4", "does not exist"), ("empty", "found none"), ("empty.txt", "found none")]
)
def test_missing_and_empty_names_are_user_errors(tmp_path, name, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UserError, match=sentence):
        sources.files([tmp_path / name])


def test_no_name_is_a_user_error():
    with pytest.raises(UserError, match="no file is named"):
        sources.files([])


def test_a_name_that_the_system_refuses_is_not_there():
    assert not sources.is_there(Path("a" * 300))


def test_what_else_a_folder_holds_is_counted(folder, logged):
    for name in ("d.heic", "notes.txt", "no_suffix", ".DS_Store", "._b.JPG", "Thumbs.db", "deep/more.md"):
        (folder / name).touch()
    assert names(folder, "") == ["a.mp4", "b.JPG", "d.heic", "deep/c.png"]
    others = "4 passed over (1 x no suffix, 2 x .md, 1 x .txt), 3 left aside (hidden, thumbnails, READMEs)"
    assert logged.messages == [f"{folder}: {others}"]


def test_a_folder_of_images_and_videos_alone_is_no_news(folder, logged):
    (folder / "notes.md").unlink()
    names(folder, "")
    assert logged.messages == []


IMAGES = "jpg JPEG jpe jfif png bmp dib tif tiff webp avif heic HEIF jp2 ppm"
VIDEOS = "mp4 mov avi mkv vob mxf mts m2ts 3gp flv wmv webm gif"


@pytest.mark.parametrize("suffix", [*IMAGES.split(), *VIDEOS.split()])
def test_a_folder_is_searched_for_every_suffix_that_people_have(tmp_path, suffix):
    (tmp_path / f"x.{suffix}").touch()
    assert names(tmp_path, "") == [f"x.{suffix}"]


@pytest.mark.parametrize("name", [".thumbnails", "@eaDir/b.jpg", "__MACOSX", "$RECYCLE.BIN"])
def test_hidden_folders_and_thumbnails_are_left_out_unless_they_are_named(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "small.jpg").touch()
    assert names(folder, "") == ["a.mp4", "b.JPG", "deep/c.png"]
    assert names(folder, name) == [f"{name}/small.jpg"]


def test_links_to_folders_are_followed_once(folder, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    (disk / "e.jpg").touch()
    (disk / "back").symlink_to(folder)
    (folder / "linked").symlink_to(disk)
    (folder / "linked_again").symlink_to(disk)
    (folder / "deep" / "up").symlink_to(folder)
    assert names(folder, "") == ["a.mp4", "b.JPG", "deep/c.png", "linked/e.jpg"]


def test_a_link_that_leads_nowhere_is_named_so_that_it_becomes_a_reject(folder):
    (folder / "disk2").symlink_to(folder / "not mounted")
    assert names(folder, "") == ["a.mp4", "b.JPG", "deep/c.png", "disk2"]


def test_a_folder_that_cannot_be_read_is_a_reject_with_its_name():
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        (folder / "a.jpg").touch()
        (folder / "mine").mkdir(mode=0o700)
        with as_somebody():
            found = sources.files([folder])
            assert found == [folder / "a.jpg", folder / "mine"]
            assert sources.is_image(folder / "mine")
            with pytest.raises(Rejected, match=r"unreadable file: .*Permission denied"):
                sources.read_image(folder / "mine")
    finally:
        shutil.rmtree(folder)


def test_files_of_a_folder_that_shows_its_names_alone_are_rejects():
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "listed").mkdir()
        names = [folder / "listed" / name for name in ("a.jpg", "b")]
        for name in names:
            name.touch()
        folder.chmod(0o755)
        (folder / "listed").chmod(0o744)
        with as_somebody():
            assert sources.files([folder]) == names
            assert [sources.is_image(name) for name in names] == [True, False]
            with pytest.raises(Rejected, match=r"unreadable file: .*Permission denied"):
                sources.read_image(names[0])
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_somebody():
    """Without the right to read the folders of root; for others who run the tests, nothing changes."""
    if os.geteuid():
        pytest.skip("root can lend its rights to nobody, others cannot")
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_images_and_videos_says_what_is_there(tmp_path):
    (tmp_path / "notes.md").touch()
    with pytest.raises(UserError, match=r"found none, but 1 passed over \(1 x \.md\): they end in .*\.avi"):
        sources.files([tmp_path])


def test_a_photograph_under_another_name_is_read_as_an_image(tmp_path):
    (tmp_path / "photo").write_bytes(encoded(noise(64, 48)))
    assert sources.is_image(tmp_path / "photo")
    assert sources.read_image(tmp_path / "photo").shape == (48, 64, 3)
    assert not sources.is_image(tmp_path / "gone")
