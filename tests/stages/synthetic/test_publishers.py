import csv
import io
import re
import sqlite3
import tarfile
import zipfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from releases import bring
from scipy.io import loadmat

from stages.runtime import plugins, workers
from stages.synthetic import affectnet, aflw, emotionet, mafl, voxceleb1, voxceleb2, w300
from stages.synthetic.renderer import files, tracks
from stages.synthetic.renderer.layout import Array

SEED = 11
SMALL = {
    "affectnet": affectnet.Params(training=30, validation=16),
    "aflw": aflw.Params(images=12),
    "emotionet": emotionet.Params(automatic=8, manual=6),
    "mafl": mafl.Params(training=5, testing=4),
    "voxceleb1": voxceleb1.Params(identities=2, tracks_per_identity=3, seconds=0.7),
    "voxceleb2": voxceleb2.Params(identities=2, tracks_per_identity=3, seconds=0.2, parts=3),
    "w300": w300.Params(training=9, common=4, challenging=3),
}
SUBSETS = ("afw", "helen/trainset", "helen/testset", "lfpw/trainset", "lfpw/testset", "ibug")


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a small release of every data set."""
    root = tmp_path_factory.mktemp("releases")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "available", lambda: 1)
        for name, params in SMALL.items():
            (root / name).mkdir()
            plugins.load("stages.synthetic", name).publish(root / name, params, seed=SEED)
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["aflw", "voxceleb2"])  # one of images and one of clips
def test_a_second_rendering_on_two_processes_has_the_same_bytes(
    name: str, releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(workers, "available", lambda: 2)
    plugins.load("stages.synthetic", name).publish(tmp_path, SMALL[name], seed=SEED)
    assert contents(tmp_path) == contents(releases / name)


def test_no_archive_or_table_contains_the_time_of_writing(releases: Path):
    archive = releases / "voxceleb1/dense-face-frames.tar.gz"
    assert archive.read_bytes()[4:8] == bytes(4)
    with tarfile.open(archive) as tar:
        assert {info.mtime for info in tar} == {0}
    clips = b"".join(path.read_bytes() for path in sorted((releases / "voxceleb2").glob("*_part*")))
    workbook = (releases / "emotionet" / emotionet.MANUAL).read_bytes()
    for data in (clips, workbook):
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            assert {info.date_time for info in zipped.infolist()} == {files.ZIP_EPOCH}
    with zipfile.ZipFile(io.BytesIO(workbook)) as zipped:
        times = re.findall(rb"\d{4}-\d\d-\d\dT[^<]+", zipped.read("docProps/core.xml"))
    assert set(times) == {emotionet.WRITTEN.encode()}
    boxes = releases / "w300/Bounding Boxes/bounding_boxes_ibug.mat"
    assert boxes.read_bytes()[: w300.MAT_TEXT_BYTES].rstrip() == w300.MAT_TEXT


@pytest.mark.parametrize("name", list(SMALL))
def test_the_reader_of_the_data_set_finds_every_item(name: str, releases: Path, tmp_path: Path):
    bring(name, releases / name, tmp_path / "raw")
    items = list(plugins.load("stages.datasets", name).read(tmp_path / "raw").items)
    rejects = Counter(item.kind for item in items if hasattr(item, "kind"))
    expected = {
        "affectnet": {
            "labelled none": 2,
            "labelled uncertain": 2,
            "labelled non-face": 2,
            "same image as another": 1,
        },
        "aflw": {"no pose": 1, "pose out of range": 1},
        "emotionet": {"no annotation": 1, "no image name": 1, "no such image": 2},
    }
    usable = {"affectnet": 30 + 16 + 2, "emotionet": 8 + 6 - 3, "mafl": 9, "voxceleb1": 6, "voxceleb2": 6, "w300": 16}
    assert rejects == expected.get(name, {})
    assert len(items) - rejects.total() == usable.get(name, len(items) - 2)


def test_voxceleb1_is_a_tar_of_every_sixth_frame(releases: Path):
    pattern = re.compile(r"unzippedIntervalFaces/data/(\w+)/1\.6/([\w-]{11})/(\d)/(\d{7})\.jpg")
    with tarfile.open(releases / "voxceleb1/dense-face-frames.tar.gz", "r:gz") as archive:
        frames = {pattern.fullmatch(info.name): archive.extractfile(info) for info in archive}
        images = {match: file.read() for match, file in frames.items() if match and file}
    assert len(images) == len(frames) == 18
    tracks: dict[tuple[str, ...], list[int]] = {}
    sides: set[int] = set()
    for match, data in images.items():
        tracks.setdefault(match.groups()[:3], []).append(int(match[4]))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape[0] == image.shape[1]
        sides.add(image.shape[0])
    assert len(tracks) == 6
    assert all(np.diff(numbers).tolist() == [6, 6] and numbers[0] % 6 == 0 for numbers in tracks.values())
    assert len(sides) > 1


def test_voxceleb1_list_is_tab_separated_and_names_every_person(releases: Path):
    with (releases / "voxceleb1/vox1_meta.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(rows[0]) == ["VoxCeleb1 ID", "VGGFace1 ID", "Gender", "Nationality", "Set"]
    assert [row["VoxCeleb1 ID"] for row in rows] == ["id10001", "id10002"]
    with tarfile.open(releases / "voxceleb1/dense-face-frames.tar.gz") as archive:
        assert {name.split("/")[2] for name in archive.getnames()} == {row["VGGFace1 ID"] for row in rows}


def test_voxceleb2_parts_join_to_an_uncompressed_zip_of_h264_clips(releases: Path):
    folder = releases / "voxceleb2"
    parts = sorted(folder.glob("vox2_dev_mp4_part*"))
    assert [path.name[-2:] for path in parts] == ["aa", "ab", "ac"]
    assert sorted(path.name for path in folder.iterdir()) == [*(path.name for path in parts), "vox2_meta.csv"]
    archive = zipfile.ZipFile(io.BytesIO(b"".join(path.read_bytes() for path in parts)))
    assert archive.testzip() is None
    assert len(archive.infolist()) == 6
    for info in archive.infolist():
        assert re.fullmatch(r"dev/mp4/id0001[23]/[\w-]{11}/0000[12]\.mp4", info.filename)
        assert info.compress_type == zipfile.ZIP_STORED
        with av.open(io.BytesIO(archive.read(info))) as clip:
            stream = clip.streams.video[0]
            assert (stream.codec_context.name, stream.average_rate) == ("h264", 25)
            assert [(frame.width, frame.height) for frame in clip.decode(stream)] == [(224, 224)] * 5


def test_voxceleb2_list_has_a_space_before_every_comma(releases: Path):
    lines = (releases / "voxceleb2/vox2_meta.csv").read_text().splitlines()
    assert lines[0] == "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set "
    assert [line.split(" ,")[0] for line in lines[1:]] == ["id00012", "id00013"]


def affectnet_rows(releases: Path, split: str) -> list[list[str]]:
    with (releases / f"affectnet/Manually_Annotated_file_lists/{split}.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_affectnet_lists_have_nine_columns_and_all_codes(releases: Path):
    training, validation = (affectnet_rows(releases, split) for split in ("training", "validation"))
    assert training[0] == affectnet.HEADER.split(",")
    assert {len(row) for row in training + validation} == {9}
    assert {row[6] for row in training[1:]} == {str(code) for code in range(11)}
    assert Counter(row[6] for row in validation) == {str(code): 2 if code < 8 else 1 for code in range(11)}


def test_affectnet_training_is_imbalanced_and_has_every_code():
    counts = Counter(affectnet.training_codes(900))
    assert sum(counts[code] for code in range(8)) == 900
    assert counts[1] == max(counts.values())
    assert min(counts[code] for code in range(8)) >= 30


def test_affectnet_landmarks_lie_inside_the_box_and_the_image(releases: Path):
    for row in affectnet_rows(releases, "validation"):
        image = cv2.imread(str(releases / "affectnet/Manually_Annotated_Images" / row[0]))
        assert image is not None
        if row[6] == "10":
            assert row[5] == ""
            continue
        points = np.array(row[5].split(";"), float).reshape(68, 2)
        x, y, width, height = map(int, row[1:5])
        assert (points > (x, y)).all()
        assert (points < (x + width, y + height)).all()
        assert (points < image.shape[1::-1]).all()


def test_affectnet_has_a_truncated_file_and_a_duplicate(releases: Path):
    images = [path.read_bytes() for path in (releases / "affectnet/Manually_Annotated_Images").rglob("*.jpg")]
    assert len(images) - len(set(images)) == 1
    assert sum(not data.endswith(b"\xff\xd9") for data in images) == 1


def pts(path: Path) -> Array:
    """Points of a .pts file as written: 1-based."""
    head, _, rest = path.read_text().partition("{")
    assert head.split() == ["version:", "1", "n_points:", "68"]
    return np.array(rest.split("}")[0].split(), float).reshape(68, 2)


def test_w300_has_a_pts_file_for_every_image(releases: Path):
    counts = {}
    for subset in SUBSETS:
        folder = releases / "w300" / subset
        images = sorted(path for path in folder.iterdir() if path.suffix != ".pts")
        assert {path.suffix for path in images} == {".png" if subset.startswith("lfpw") else ".jpg"}
        for path in images:
            points, image = pts(path.with_suffix(".pts")), cv2.imread(str(path))
            assert image is not None
            assert points.min() > 1
            assert (points < image.shape[1::-1]).all()
        counts[subset] = len(images)
    assert counts["afw"] + counts["helen/trainset"] + counts["lfpw/trainset"] == 9
    assert counts["helen/testset"] + counts["lfpw/testset"] == 4
    assert counts["ibug"] == 3
    assert (releases / "w300/ibug/image_092 _01.pts").is_file()


@pytest.mark.parametrize("subset", SUBSETS)
def test_w300_boxes_enclose_their_points(subset: str, releases: Path):
    boxes = loadmat(releases / f"w300/Bounding Boxes/bounding_boxes_{subset.replace('/', '_')}.mat")["bounding_boxes"]
    names = [str(boxes[0, column]["imgName"][0, 0][0]) for column in range(boxes.shape[1])]
    images = {path.name for path in (releases / "w300" / subset).iterdir() if path.suffix != ".pts"}
    assert images < set(names) if subset == "ibug" else images == set(names)
    for column, name in enumerate(names):
        if name in images:
            points = pts((releases / "w300" / subset / name).with_suffix(".pts"))
            box = boxes[0, column]["bb_ground_truth"][0, 0][0]
            assert box == pytest.approx([*points.min(axis=0), *points.max(axis=0)], abs=1e-5)


@pytest.mark.parametrize(("total", "expected"), [(0, [0, 0]), (1, [1, 0]), (5, [3, 2]), (554, [330, 224])])
def test_images_are_apportioned_by_share(total: int, expected: list[int]):
    assert list(w300.apportion(total, w300.COMMON).values()) == expected


def test_tracks_of_one_person_share_the_face_and_come_from_two_videos():
    of_person = list(tracks.of_person(SEED, "voxceleb2", 0, 3))
    assert [track.utterance for track in of_person] == [1, 2, 1]
    assert len({track.video_id for track in of_person}) == 2
    assert all(np.array_equal(track.person.skin, of_person[0].person.skin) for track in of_person)


def test_two_data_sets_have_different_people():
    one, other = (next(tracks.of_person(SEED, name, 0, 1)).person for name in ("voxceleb1", "voxceleb2"))
    assert one.shape.half_width != other.shape.half_width


def test_more_parts_than_suffixes_raise_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="at most 676, found 677"):
        files.write_zip_parts(tmp_path / "x", [], 677)


def aflw_faces(folder: Path) -> list[tuple[float, ...]]:
    """Roll, pitch, yaw, then x and y of both outer eye corners, the nose and the chin."""
    points = "".join(
        f", (SELECT {axis} FROM FeatureCoords c WHERE c.face_id = p.face_id AND feature_id = {feature})"
        for feature in (7, 12, 15, 21)
        for axis in "xy"
    )
    with closing(sqlite3.connect(folder / "aflw.sqlite")) as database:
        return database.execute(f"SELECT roll, pitch, yaw{points} FROM FacePose p").fetchall()


def test_aflw_poses_have_the_owners_signs(releases: Path):
    found = np.array(aflw_faces(releases / "aflw"))
    found = found[np.abs(found[:, 2]) < 1]
    roll, pitch, yaw = found[:, :3].T
    left, right, nose, chin = (found[:, at : at + 2] for at in (3, 5, 7, 9))
    fall = np.arctan2(*(right - left)[:, ::-1].T)  # of the eye line: positive where it falls to the right
    assert np.corrcoef(roll, fall)[0, 1] > 0.9
    across, down = (right - left) / np.linalg.norm(right - left, axis=1)[:, None], (chin - (left + right) / 2)
    off = ((nose - (left + right) / 2) * across).sum(axis=1)
    assert np.corrcoef(yaw, off)[0, 1] < -0.9  # positive yaw turns the nose to the left edge
    height = ((nose - (left + right) / 2) * down).sum(axis=1) / (down**2).sum(axis=1)
    assert np.corrcoef(pitch, height)[0, 1] < -0.5  # positive pitch lifts the nose towards the eyes


def test_aflw_has_the_defects_of_the_original(releases: Path):
    with closing(sqlite3.connect(releases / "aflw/aflw.sqlite")) as database:
        (faces,), (poses,), (images,) = (
            database.execute(f"SELECT count(*) FROM {table}").fetchone()
            for table in ("Faces", "FacePose", "FaceImages")
        )
        yaws = [abs(yaw) for (yaw,) in database.execute("SELECT yaw FROM FacePose")]
        assert database.execute("SELECT count(*) FROM FaceRect WHERE w != h").fetchone() != (0,)
    assert faces == poses + 1
    assert faces > images == 12
    assert sorted(yaw > 3.2 for yaw in yaws)[-2:] == [True, True]
    assert max(yaws) > 2 * np.pi


def test_mafl_points_lie_on_the_eyes_that_celeba_aligns(releases: Path):
    lines = (releases / "mafl/list_landmarks_align_celeba.txt").read_text().splitlines()
    points = np.array([line.split()[1:] for line in lines[2:]], float).reshape(-1, 5, 2)
    assert int(lines[0]) == len(points)
    assert points[:, :2].mean(axis=(0, 1)) == pytest.approx((89, 112), abs=4)
    assert np.linalg.norm(points[:, 1] - points[:, 0], axis=1).mean() == pytest.approx(37, abs=4)
    names = [(releases / f"mafl/{split}.txt").read_bytes() for split in ("training", "testing")]
    assert not any(data.endswith(b"\n") for data in names)
    assert not set(names[0].split()) & set(names[1].split())


def test_emotionet_lists_have_62_cells_and_no_header(releases: Path):
    lists = sorted((releases / "emotionet").glob("dataFile_*.txt"))
    rows = [line.split("\t") for path in lists for line in path.read_text().splitlines()]
    assert len(rows) == 8
    assert {len(row) for row in rows} == {62}
    assert {cell for row in rows for cell in row[2:]} == {"0", "1", "999"}
    assert all(re.search(r"/N_\d{10}/N_\d{10}_\d{5}\.jpg$", row[0]) for row in rows)


def test_emotionet_draws_every_unit_and_no_excluded_pair():
    drawn = [emotionet.merge_sides(emotionet.draw_units(np.random.default_rng(seed))) for seed in range(300)]
    for unit in (1, 2, 4, 5, 6, 9, 12, 17, 20, 25, 26):
        assert 0.1 < np.mean([shown[f"AU{unit}"] > 0 for shown in drawn]) < 0.4
    assert not any(shown["AU26"] and shown["AU17"] for shown in drawn)
