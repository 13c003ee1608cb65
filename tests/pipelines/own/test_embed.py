"""`fabnet embed` as a user meets it: files in, one table out."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import packaged
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from media_samples import drawn_faces, encoded, mp4, noise, written
from own_samples import CLOCKWISE, FACE, TWO, fabnet, image_file, moving, sound, turned, video
from pyarrow import csv
from safetensors.torch import load_file, save_file

import fabnet as library
from fabnet import boxes, images
from fabnet.modules import model_file
from pipelines.own import people, tabulate
from stages import detect
from stages.faces import detection
from stages.runtime import tables, workers
from stages.runtime.errors import reason
from stages.runtime.outputs import alone
from stages.storage.shards import Shards

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def embed(model):
    def call(*arguments: object, out: str = "faces.parquet") -> list[dict]:
        assert fabnet("embed", *arguments, "--model", model, "--out", out) == 0
        return pq.read_table(out).to_pylist()

    return call


def lost(out: str = "faces.rejects.parquet") -> dict[str, str]:
    rows = tables.read(Path(out), tables.REJECTS).to_pylist()
    return {row["key"]: reason(row["kind"], row["detail"]) for row in rows}


def test_embeddings_of_crops_are_those_of_the_embed_stage(tree, embed):
    index = tables.read(tree / "faces" / "affectnet" / "index.parquet").sort_by("sample_id").to_pylist()
    with Shards(tree / "faces" / "affectnet") as shards:
        for row, split in zip(index, packaged.SPLITS, strict=True):
            if split == "test":
                Path("crops").mkdir(exist_ok=True)
                data = shards.read(row["shard"], row["offset"], row["size"])
                Path("crops", f"{row['sample_id']}.jpg").write_bytes(data)
    stage = tables.read(tree / "embeddings" / "fabnet-3" / "affectnet.parquet", tables.EMBEDDINGS).to_pylist()
    expected = {f"crops/{row['sample_id']}.jpg": row["embedding"] for row in stage}
    found = embed("crops", "--crops")
    assert len(found) == packaged.SPLITS.count("test")
    for row in found:
        assert row["embedding"] == pytest.approx(expected[row["source"]], abs=1e-5)
        assert row["score"] is None


def test_a_face_is_cut_as_the_detect_stage_cuts_it(model, embed):
    image = drawn_faces(320, 240, FACE)
    image_file(Path("face.png"), image)
    search = detection.detector("dlib_hog", "", 0.0)
    box, score, _ = detect.find_face(image, None, detector=search, passes=[0, 1])
    crop = images.resize(images.cut(image, boxes.whole(boxes.square(box))), 256, 256)
    (row,) = embed("face.png")
    assert [row[name] for name in ("x0", "y0", "x1", "y1")] == list(box)
    assert row["score"] == pytest.approx(score)
    expected = library.load(model, "cpu").embed([crop])[0]
    assert row["embedding"] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_video_gives_one_row_for_each_face_with_its_time(embed):
    found = embed(video(Path("clip.mp4"), moving(6)))
    assert [(row["source"], row["frame"], row["face"]) for row in found] == [("clip.mp4", k, 0) for k in range(6)]
    assert [row["time_s"] for row in found] == pytest.approx([k / 25 for k in range(6)])
    centres = [(row["x0"] + row["x1"]) / 2 for row in found]
    assert centres[5] - centres[0] == pytest.approx(10, abs=4)


def test_the_metadata_name_network_detector_and_decoder(model, embed):
    embed(image_file(Path("face.png"), drawn_faces(320, 240, FACE)))
    schema = pq.read_schema("faces.parquet")
    assert schema.field("embedding").type == pa.list_(pa.float32(), 6)
    metadata = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    described = library.load(model, "cpu").description
    assert metadata["config_hash"] == described.config_hash
    assert metadata["detector"] == "dlib_hog"
    assert json.loads(metadata["crop"])["crop_px"] == described.crop.crop_px
    assert metadata["decoder"].startswith("PyAV ")


def test_faces_are_numbered_by_score_and_the_largest_can_be_used_alone(embed):
    image_file(Path("two.png"), drawn_faces(400, 260, *TWO))
    both = embed("two.png")
    assert [row["face"] for row in both] == [0, 1]
    assert both[0]["score"] >= both[1]["score"]
    (largest,) = embed("two.png", "--largest")
    assert largest["x1"] - largest["x0"] == max(row["x1"] - row["x0"] for row in both)


def test_frames_are_sampled_by_time_where_the_rate_varies(embed):
    video(Path("vfr.mp4"), moving(6), [0.0, 0.04, 0.5, 0.54, 1.5, 1.54])
    found = embed("vfr.mp4", "--fps", "2")
    assert [row["frame"] for row in found] == [0, 2, 4]
    assert [row["time_s"] for row in found] == pytest.approx([0.0, 0.5, 1.5], abs=2e-3)


@pytest.mark.parametrize("command", ["embed", "attributes"])
@pytest.mark.parametrize("fps", ["nan", "inf", "-inf", "0", "-1", "1e9"])
def test_an_impossible_frame_rate_is_an_error_before_any_file_is_read(command, fps, capsys):
    assert fabnet(command, "missing.mp4", "--model", "missing", "--fps", fps) == 1
    sentence = f"error: --fps should be above 0 and at most 1000 frames a second, found {float(fps):g}\n"
    assert capsys.readouterr().err == sentence
    assert not list(Path().iterdir())


def test_csv_holds_the_rows_of_the_parquet_table(embed, model):
    video(Path("clip.mp4"), moving(3))
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    rows = embed("clip.mp4", "face.png")
    assert fabnet("embed", "clip.mp4", "face.png", "--model", model, "--out", "faces.csv") == 0
    found = csv.read_csv("faces.csv", convert_options=csv.ConvertOptions(strings_can_be_null=True)).to_pylist()
    flat = [{**row, **{f"embedding_{n}": value for n, value in enumerate(row["embedding"])}} for row in rows]
    assert len(found) == 4
    for one, other in zip(found, flat, strict=True):
        assert one == {name: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
                       for name, value in other.items() if name != "embedding"}  # fmt: skip


def test_rejects_are_csv_beside_a_csv(model):
    image_file(Path("dot.png"), np.zeros((1, 1, 3), np.uint8))
    assert fabnet("embed", "dot.png", "--model", model, "--out", "faces.csv") == 0
    assert Path("faces.csv").read_text(encoding="utf-8").count("\n") == 1
    (row,) = csv.read_csv("faces.rejects.csv").to_pylist()
    assert (row["key"], row["kind"]) == ("dot.png", "image too small")
    assert sorted(path.name for path in Path().iterdir()) == ["dot.png", "faces.csv", "faces.rejects.csv"]


def test_a_list_of_files_is_not_overwritten(model, capsys):
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    Path("list.csv").write_text("face.png\n", encoding="utf-8")
    assert fabnet("embed", "list.csv", "--model", model, "--out", "list.csv") == 1
    assert capsys.readouterr().err == "error: list.csv is read by this command: give the result another name\n"
    assert Path("list.csv").read_text(encoding="utf-8") == "face.png\n"


def test_a_score_that_is_not_a_number_is_an_error(model, capsys):
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet("embed", "face.png", "--model", model, "--min-score", "nan") == 1
    assert capsys.readouterr().err == "error: --min-score should be a finite number, found nan\n"


def test_boxes_of_a_rotated_video_are_in_the_upright_frame(embed):
    upright = drawn_faces(240, 320, (130, 140, 130))
    (expected,) = embed(video(Path("upright.mp4"), [upright]))
    lying = np.ascontiguousarray(np.rot90(upright))  # counter-clockwise: the metadata turn it back
    (found,) = embed(turned(video(Path("phone.mp4"), [lying]), CLOCKWISE))
    for name in ("x0", "y0", "x1", "y1"):
        assert found[name] == pytest.approx(expected[name], abs=4)


def test_unusable_files_are_rejects_and_the_rest_is_used(embed, logged):
    video(Path("clip.mp4"), moving(2))
    Path("all").mkdir()
    Path("all", "cut.mp4").write_bytes(mp4(Path(), 40, faststart=True)[:-1000])
    Path("all", "junk.mp4").write_bytes(b"no video")
    Path("all", "half.jpg").write_bytes(encoded(noise(320, 240))[:2000])
    image_file(Path("all", "dot.png"), np.zeros((1, 1, 3), np.uint8))
    sound(Path("all", "song.mp4"))
    Path("list.txt").write_text("gone.mp4\n", encoding="utf-8")
    assert len(embed("all", "clip.mp4", "list.txt")) == 2
    reasons = {
        "all/cut.mp4": "video is cut short: ",
        "all/dot.png": "image too small: 1x1 px",
        "all/half.jpg": "image is cut short",
        "all/junk.mp4": "unreadable video: ",
        "all/song.mp4": "no video stream",
        "gone.mp4": "unreadable video: No such file",
    }
    found = lost()
    assert found.keys() == reasons.keys()
    for source, start in reasons.items():
        assert found[source].startswith(start)
    assert "1 x no video stream (all/song.mp4)" in logged.text


def test_nothing_that_could_be_read_is_an_error_with_one_sentence(model, capsys):
    Path("half.jpg").write_bytes(encoded(noise(320, 240))[:2000])
    Path("junk.mp4").write_bytes(b"no video")
    assert fabnet("embed", "half.jpg", "junk.mp4", "--model", model) == 1
    sentence = "error: no file could be used: faces.rejects.parquet says why, for each of them\n"
    assert capsys.readouterr().err.endswith(sentence)
    assert lost().keys() == {"half.jpg", "junk.mp4"}


def test_a_folder_of_all_that_phones_and_discs_hold_is_read(embed, logged):
    head = drawn_faces(320, 240, FACE)
    Path("people").mkdir()
    forms = {"a.jpg": "JPEG", "b.jfif": "JPEG", "c.avif": "AVIF", "d.HEIC": "HEIF", "e.webp": "WEBP"}
    for name, form in forms.items():
        Path("people", name).write_bytes(written(head, form))
    video(Path("clip.ts"), [head] * 3).rename("people/f.MTS")
    Path("people/notes.txt").touch()
    found = embed("people", "--fps", "1")
    assert [row["source"] for row in found] == [f"people/{name}" for name in (*forms, "f.MTS")]
    assert "people: 1 passed over (1 x .txt)" in logged.messages
    assert lost() == {}


def test_a_video_of_one_pixel_is_a_reject(embed):
    assert embed(video(Path("dot.mkv"), [np.zeros((1, 1, 3), np.uint8)] * 3, codec="ffv1")) == []
    assert "image too small" in lost()["dot.mkv"]


def test_a_cut_video_keeps_the_rows_of_what_can_be_decoded(embed):
    rest = [np.random.default_rng(k).integers(0, 256, (240, 320, 3), np.uint8) for k in range(8)]  # much of the file
    whole = video(Path("whole.mp4"), moving(4) + rest).read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) // 2])
    assert [row["frame"] for row in embed("cut.mp4")] == [0, 1, 2, 3]
    assert lost()["cut.mp4"].startswith("video is cut short: ")


def test_a_source_without_faces_gives_no_rows_and_a_reject(embed, logged):
    assert embed(video(Path("room.mp4"), [noise(320, 240)] * 3)) == []
    assert lost() == {"room.mp4": "no face found"}
    assert "1 x no face found (room.mp4)" in logged.text


@pytest.mark.parametrize("finished", [1, 2, 3])
def test_a_stopped_run_continues_after_its_finished_parts_and_writes_the_same_bytes(
    embed, model, crossed, monkeypatch, finished
):
    monkeypatch.setattr(tabulate, "FRAMES_PER_PART", 4)
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    names = ("face.png", crossed)
    embed(*names, out="whole.parquet")
    write, written = tabulate.parts.write, []

    def dying(path, *rest):
        if len(written) == finished:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(tabulate.parts, "write", dying)
    assert fabnet("embed", *names, "--model", model) == 130
    assert not Path("faces.parquet").exists()
    monkeypatch.setattr(tabulate.parts, "write", lambda path, *rest: (written.append(path.name), write(path, *rest)))
    embed(*names)
    assert written == [f"{number:08d}.parquet" for number in range(5)]
    assert Path("faces.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert not Path(".faces.parquet.parts").exists()


@pytest.mark.parametrize("options", [(), ("--detect-every", "1"), ("--fps", "6")])
def test_two_people_who_cross_keep_their_tracks(embed, crossed, options):
    rows = embed(crossed, *options)
    places = {track: [row["x0"] for row in rows if row["track"] == track] for track in (0, 1)}
    assert {row["track"] for row in rows} == {0, 1}
    assert len({(row["frame"], row["track"]) for row in rows}) == len(rows)
    to_right, to_left = sorted(places.values())
    assert (to_right[0], to_left[0]) == pytest.approx((40, 340), abs=30)
    assert (to_right[-1], to_left[-1]) == pytest.approx((340, 40), abs=60)
    assert all(later - earlier > -12 for earlier, later in pairwise(to_right))


def test_two_runs_do_not_write_the_same_table(model, capsys):
    source = image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    with alone(Path(".faces.parquet.parts/.lock"), "faces.parquet"):
        assert fabnet("embed", source, "--model", model) == 1
    assert capsys.readouterr().err.endswith(
        "error: another run works in faces.parquet: wait until it has ended, or stop it\n"
    )
    assert fabnet("embed", source, "--model", model) == 0


def test_a_face_that_was_out_of_the_picture_too_long_begins_a_track(embed):
    times_s, with_face = [*range(5), *range(10, 19)], {0, 4, 10, 18}
    images = [drawn_faces(320, 240, *([FACE] if at_s in with_face else [])) for at_s in times_s]
    rows = embed(video(Path("clip.mp4"), images, times_s))
    assert [(row["time_s"], row["track"]) for row in rows] == [(0, 0), (4, 0), (10, 0), (18, 1)]


def test_one_face_keeps_the_person_who_is_there_longest(embed, crossed):
    rows = embed(crossed)
    longest = max((0, 1), key=[row["track"] for row in rows].count)
    assert embed(crossed, "--one-face") == [row for row in rows if row["track"] == longest]
    assert sum(row["track"] == longest for row in rows) == 30


def test_one_face_does_not_depend_on_the_size_of_parts(embed, crossed, monkeypatch):
    whole = embed(crossed, "--one-face")
    monkeypatch.setattr(tabulate, "FRAMES_PER_PART", 4)
    assert embed(crossed, "--one-face") == whole


def test_one_face_of_an_image_is_the_largest_and_has_no_track(embed):
    image_file(Path("two.png"), drawn_faces(400, 260, *TWO))
    largest = max(embed("two.png"), key=lambda row: row["x1"] - row["x0"])
    assert embed("two.png", "--one-face") == [largest]
    assert largest["track"] is None


def test_faces_between_two_searched_frames_are_marked(embed):
    rows = embed(video(Path("clip.mp4"), moving(8)), "--detect-every", "3")
    assert [row["frame"] for row in rows if not row["is_interpolated"]] == [0, 3, 6, 7]


def test_a_stopped_run_is_not_continued_after_a_file_changed(embed, model, monkeypatch):
    video(Path("clip.mp4"), moving(3))
    rejects = tabulate.parts.rejects
    monkeypatch.setattr(tabulate.parts, "rejects", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert fabnet("embed", "clip.mp4", "--model", model) == 130
    monkeypatch.setattr(tabulate.parts, "rejects", rejects)
    video(Path("clip.mp4"), moving(5))
    assert len(embed("clip.mp4")) == 5


@pytest.mark.slow
def test_a_file_that_is_replaced_while_it_is_read_leaves_no_table(model, monkeypatch, capsys):
    source = image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    number = people.numbered

    def slowly(*done: object, **options: bool) -> list[Path]:
        image_file(source, drawn_faces(320, 240, *TWO))
        return number(*done, **options)

    monkeypatch.setattr(people, "numbered", slowly)
    assert fabnet("embed", source, "--model", model) == 1
    assert f"{source} was changed while it was read: run the same command again" in capsys.readouterr().err
    assert not Path("faces.parquet").exists()
    monkeypatch.setattr(people, "numbered", number)
    assert fabnet("embed", source, "--model", model) == 0


def test_faces_do_not_depend_on_the_number_of_processes(embed, monkeypatch):
    video(Path("clip.mp4"), moving(12))
    alone = embed("clip.mp4")
    monkeypatch.setattr(workers, "available", lambda: 2)
    assert embed("clip.mp4") == alone


@pytest.mark.usefixtures("sigint_is_heard")
def test_ctrl_c_is_reported_and_leaves_no_table(model, tmp_path):
    os.mkfifo(tmp_path / "slow.jpg")
    command = [sys.executable, "-m", "pipelines.cli", "embed", "slow.jpg", "--model", str(model)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    with (tmp_path / "slow.jpg").open("wb"):  # waits until the command reads
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=120)
    assert running.returncode == 130
    assert error.splitlines()[1:] == ["stopped; finished parts are kept, the same command continues from there"]
    assert not list(tmp_path.glob("faces*"))


def test_a_full_disk_is_reported_and_leaves_no_table(model, capsys):
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    Path(".faces.parquet.partial").symlink_to("/dev/full")
    assert fabnet("embed", "face.png", "--model", model) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: the disk is full; ")
    assert not Path("faces.parquet").exists()


def test_a_model_of_another_version_is_a_user_error(model, capsys):
    shutil.copytree(model, "other")
    path = Path("other", model_file.NAME)
    described = model_file.read(path)[0].metadata()
    changed = {**json.loads(described[model_file.KEY]), "format": 99}
    save_file(load_file(path), path, {model_file.KEY: json.dumps(changed)})
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    assert fabnet("embed", "face.png", "--model", "other") == 1
    error = capsys.readouterr().err
    assert "expected model format 2 or 3, found 99" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("gone.mp4",), "gone.mp4 does not exist"),
        (("face.png", "--out", "faces.xlsx"), "the result should be named *.parquet or *.csv, found faces.xlsx"),
        (("face.png", "--detector", "yunet"), "--weights should be the path of"),
        (("face.png", "--detector", "viola"), "expected one of dlib_cnn"),
        (("face.png", "--model", "nowhere"), "nowhere does not exist: name a model file or its folder"),
    ],
)
def test_wrong_arguments_are_user_errors(model, capsys, arguments, sentence):
    image_file(Path("face.png"), drawn_faces(320, 240, FACE))
    chosen = arguments if "--model" in arguments else (*arguments, "--model", model)
    assert fabnet("embed", *chosen) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_a_name_that_is_not_utf8_is_escaped(embed, tmp_path):
    image_file(tmp_path / "face.png", drawn_faces(320, 240, FACE)).rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    assert {row["source"] for row in embed(".")} == {"caf\\udce9.png"}
