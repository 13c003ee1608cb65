import pytest
from releases import bring, put

from stages.datasets import own_videos
from stages.releases.readers import Reject
from stages.runtime.errors import UserError


def read(tmp_path, *names: str):
    for name in names:
        put(tmp_path / "release" / name, name.encode())
    return list(own_videos.read(bring("own_videos", tmp_path / "release", tmp_path / "raw")).items)


def test_a_first_level_folder_is_one_identity_and_a_video_beside_it_another(tmp_path):
    items = read(tmp_path, "anna/2024/beach.MP4", "anna/home.webm", "ben/home.webm", "home.webm")
    assert [(item.identity_id, item.video_id) for item in items] == [
        ("anna", "2024/beach.MP4"),
        ("anna", "home.webm"),
        ("ben", "home.webm"),
        ("home.webm", "home.webm"),
    ]
    assert len({item.key for item in items}) == 4
    assert all(item.path.read_bytes().decode().endswith(item.video_id) for item in items)


def test_other_files_are_rejects(tmp_path):
    items = read(tmp_path, "a.mp4", "cover.jpg", "line\nbreak.mp4")
    assert [item.kind for item in items if isinstance(item, Reject)] == ["not a video", "unreadable name"]


def test_hidden_files_are_left_out(tmp_path):
    assert len(read(tmp_path, "a.mp4", ".DS_Store", ".trash/b.mp4")) == 1


def test_a_folder_without_videos_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"should hold videos such as .*: found no video"):
        read(tmp_path, "cover.jpg")
