from pathlib import Path

import av
import numpy as np
import packaged
import pyarrow.parquet as pq
import pytest
from media_samples import drawn_faces, mp4, noise
from own_samples import FACE, fabnet, image_file, moving, video

from fabnet.pretext import random
from pipelines.own import sources
from pipelines.own.drawing import TRACKS
from stages.footage import videos
from stages.runtime import outputs

UNEVEN = [0.0, 0.04, 0.5, 0.54, 1.5]  # s


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_overlay_keeps_size_times_and_number_of_frames(tmp_path, model):
    source = video(tmp_path / "clip.mp4", moving(5), UNEVEN)
    assert fabnet("overlay", source, "--model", model) == 0
    found = list(videos.frames(tmp_path / "clip.overlay.mp4"))
    assert [frame.time_s for frame in found] == pytest.approx(UNEVEN, abs=2e-3)
    assert found[0].image.shape == (240, 320, 3)


def test_a_constant_rate_is_kept(tmp_path, model):
    assert fabnet("overlay", video(tmp_path / "clip.mp4", moving(4)), "--out", "drawn.mp4", "--model", model) == 0
    with av.open("drawn.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames) == (25, 4)


def test_attributes_are_drawn_on_the_face_and_nowhere_else(tmp_path, model):
    source = video(tmp_path / "clip.mp4", [drawn_faces(480, 240, FACE)] * 2)
    assert fabnet("overlay", source, "--out", "drawn.mp4", "--model", model) == 0
    before, after = (next(videos.frames(tmp_path / name)).image.astype(int) for name in ("clip.mp4", "drawn.mp4"))
    change = np.abs(after - before).max(axis=2)
    assert change[60:200, 100:220].max() > 100
    assert change[:, 300:].max() < 25


def test_the_box_of_a_person_keeps_its_colour(model, crossed):
    assert fabnet("overlay", crossed, "--out", "drawn.mp4", "--model", model) == 0
    assert fabnet("embed", crossed, "--model", model) == 0
    rows = pq.read_table("faces.parquet").to_pylist()
    shown = [frame.image.astype(int) for frame in videos.frames(Path("drawn.mp4"))]
    for row in (rows[0], rows[1], rows[-2], rows[-1]):
        edge = shown[row["frame"]][round((row["y0"] + row["y1"]) / 2), round(row["x0"])]
        distances = [np.abs(edge - colour).sum() for colour in TRACKS[:2]]
        assert np.argmin(distances) == row["track"]


def test_a_video_without_faces_is_written_unchanged(tmp_path, model, logged):
    assert fabnet("overlay", video(tmp_path / "room.mp4", [noise(320, 240)] * 3), "--model", model) == 0
    assert len(list(videos.frames(tmp_path / "room.overlay.mp4"))) == 3
    assert "0 faces drawn" in logged.text


def test_a_cut_video_is_drawn_up_to_its_last_frame(tmp_path, model, logged):
    (tmp_path / "cut.mp4").write_bytes(mp4(tmp_path, 40, faststart=True)[:-1000])
    assert fabnet("overlay", "cut.mp4", "--model", model) == 0
    assert len(list(videos.frames(tmp_path / "cut.overlay.mp4"))) > 3
    assert "video is cut short" in logged.text


def test_a_file_that_is_not_a_video_is_a_user_error_and_writes_nothing(tmp_path, model, capsys):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    assert fabnet("overlay", "a.mp4", "--model", model) == 1
    assert capsys.readouterr().err.startswith("error: a.mp4 should be a video that can be decoded")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_second_run_of_the_same_name_says_so(tmp_path, model, capsys):
    source = video(tmp_path / "clip.mp4", moving(2))
    with outputs.alone(tmp_path / ".drawn.mp4.partial", "it"):
        assert fabnet("overlay", source, "--out", "drawn.mp4", "--model", model) == 1
    assert "another run works in drawn.mp4: wait until it has ended, or stop it" in capsys.readouterr().err
    assert fabnet("overlay", source, "--out", "drawn.mp4", "--model", model) == 0


def test_a_full_disk_is_reported_and_leaves_no_video(tmp_path, model, capsys):
    source = video(tmp_path / "clip.mp4", moving(3))
    (tmp_path / ".clip.overlay.mp4.partial").symlink_to("/dev/full")
    assert fabnet("overlay", source, "--model", model) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: the disk is full; ")
    assert not (tmp_path / "clip.overlay.mp4").exists()


def test_animate_shows_source_driving_face_and_result_side_by_side(tmp_path, model):
    source = image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE))
    driving = video(tmp_path / "clip.mp4", [noise(320, 240), *moving(3), noise(320, 240)])
    assert fabnet("animate", source, driving, "--model", model) == 0
    found = list(videos.frames(tmp_path / "animated.mp4"))
    assert len(found) == 4  # none before the first face; the last one is shown again where there is none
    assert found[0].image.shape == (256, 768, 3)
    assert np.abs(found[0].image[:, :256].astype(int) - found[3].image[:, :256]).mean() < 2


def test_a_driving_video_without_a_face_is_a_user_error(tmp_path, model, capsys):
    source = image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE))
    assert fabnet("animate", source, video(tmp_path / "room.mp4", [noise(320, 240)] * 2), "--model", model) == 1
    assert "should show a face, found none" in capsys.readouterr().err
    assert not list(tmp_path.glob("*animated*"))


def test_a_source_image_without_a_face_is_a_user_error(tmp_path, model, capsys):
    source = image_file(tmp_path / "room.png", noise(320, 240))
    assert fabnet("animate", source, video(tmp_path / "clip.mp4", moving(2)), "--model", model) == 1
    assert "should be an image of a face: no face found" in capsys.readouterr().err


def test_overlay_of_a_folder_is_a_user_error(tmp_path, model, capsys):
    assert fabnet("overlay", tmp_path, "--model", model) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} should be a video or an image, found a folder\n"


@pytest.mark.parametrize("command", ["overlay", "animate"])
def test_a_second_video_is_an_error_and_is_not_overwritten(tmp_path, model, command):
    kept = [video(tmp_path / name, moving(2)) for name in ("a.mp4", "b.mp4", "c.mp4")]
    before = [path.read_bytes() for path in kept]
    with pytest.raises(SystemExit):
        fabnet(command, *kept, "--model", model)
    assert [path.read_bytes() for path in kept] == before


def test_the_input_video_cannot_be_the_result(tmp_path, model, capsys):
    source = video(tmp_path / "a.mp4", moving(2))
    before = source.read_bytes()
    assert fabnet("overlay", "a.mp4", "--out", source, "--model", model) == 1
    assert "a.mp4 is read by this command: give the result another name" in capsys.readouterr().err
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("drawn.avi", "the result should be named *.mp4, found drawn.avi"),
        ("folder.mp4", "folder.mp4 should be the name of the result, found a folder"),
        ("/dev/null/a.mp4", "/dev/null/a.mp4 cannot be written"),
    ],
)
def test_an_impossible_name_of_the_result_is_a_user_error(tmp_path, model, capsys, name, sentence):
    (tmp_path / "folder.mp4").mkdir()
    assert fabnet("overlay", video(tmp_path / "a.mp4", moving(2)), "--out", name, "--model", model) == 1
    assert capsys.readouterr().err.startswith(f"error: {sentence}")


@pytest.mark.parametrize(("name", "result"), [("a.png", "a.overlay.png"), ("a.JPG", "a.overlay.jpg"),
                                              ("a.bmp", "a.overlay.png")])  # fmt: skip
def test_an_image_is_drawn_on_the_face_and_nowhere_else(tmp_path, model, name, result, logged):
    image = drawn_faces(480, 240, FACE)
    assert fabnet("overlay", image_file(tmp_path / name, image), "--model", model) == 0
    change = np.abs(sources.read_image(tmp_path / result).astype(int) - image).max(axis=2)
    assert change[60:200, 100:220].max() > 100
    assert change[:, 300:].max() < 25
    assert f"1 face drawn, see {result}" in logged.text


def test_an_image_gets_the_name_that_is_given(tmp_path, model):
    source = image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE))
    assert fabnet("overlay", source, "--out", "drawn.jpeg", "--model", model) == 0
    assert (tmp_path / "drawn.jpeg").read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        (drawn_faces(320, 240, FACE), ("--out", "drawn.mp4"), "the result should be named *.jpg or *.jpeg or *.png"),
        (drawn_faces(320, 240, FACE), ("--out", "a.png"), "a.png is read by this command"),
        (noise(320, 240), (), "a.png should show a face, found none: nothing was written"),
        (noise(8, 8), (), "a.png should show a face, found none: image too small: 8x8 px"),
        (b"no image", (), "a.png should be an image that can be read, found otherwise: not an image"),
        (None, (), "a.png should be a video or an image, found no such file"),
    ],
)
def test_an_image_that_cannot_be_drawn_on_is_a_user_error(model, capsys, content, arguments, sentence):
    if isinstance(content, bytes):
        Path("a.png").write_bytes(content)
    elif content is not None:
        image_file(Path("a.png"), content)
    before = sorted(Path().iterdir())
    assert fabnet("overlay", "a.png", *arguments, "--model", model) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {sentence}")
    assert sorted(Path().iterdir()) == before


def test_overlay_of_a_video_of_one_pixel_is_a_user_error(tmp_path, model, capsys):
    source = video(tmp_path / "one.avi", [np.zeros((1, 1, 3), np.uint8)] * 2, codec="ffv1")
    assert fabnet("overlay", source, "--model", model) == 1
    assert "should have at least 16 px each way, found 1x1" in capsys.readouterr().err


def test_names_with_colons_are_files(tmp_path, model):
    source = video(tmp_path / "2024-05-01T12:30:00.mp4", moving(2))
    assert fabnet("overlay", source.name, "--out", "noon:30.mp4", "--model", model) == 0
    assert len(list(videos.frames(tmp_path / "noon:30.mp4"))) == 2


def test_animate_with_a_network_without_a_sampler_is_a_user_error(tmp_path, capsys):
    without = packaged.make(tmp_path / "model", random, {"width": 4, "embedding": 6})
    source = image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE))
    assert fabnet("animate", source, video(tmp_path / "clip.mp4", moving(2)), "--model", without) == 1
    assert "random has no sampler, so it cannot warp: take fabnet" in capsys.readouterr().err
    assert not list(tmp_path.glob("*animated*"))
