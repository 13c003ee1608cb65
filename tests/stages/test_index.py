import numpy as np
import pytest
from media_samples import encoded
from releases import bring, face_points, points_text, put, w300

from fabnet.images import face_crop
from stages import index
from stages.datasets.w300 import LABELS
from stages.runtime import tables
from stages.runtime.params import BoxParams, IndexParams
from stages.storage import media
from stages.storage.shards import Shards

PARAMS = IndexParams(crop_px=256, jpeg_quality=95, images_per_unit=100)
SCHEMA = tables.faces_schema(LABELS)


def run(release, tmp_path, **changes) -> list[dict]:
    raw, out = bring("w300", release, tmp_path / "raw"), tmp_path / "out"
    index.run(
        dataset="w300",
        raw=raw,
        out=out,
        sheets=tmp_path / "sheets",
        journal=tmp_path / "journal",
        index=PARAMS.model_copy(update=changes),
        box=BoxParams(margin_frac=0.1),
    )
    return tables.read(out / "index.parquet", SCHEMA).to_pylist()


def stored(tmp_path, row: dict) -> np.ndarray:
    with Shards(tmp_path / "out") as shards:
        return media.decode_image(shards.read(row["shard"], row["offset"], row["size"]))


def test_a_face_is_cut_from_its_image_at_every_further_side_at_once(tmp_path):
    release = w300(tmp_path / "release", {"afw/a": face_points(0), "ibug/b": face_points(1)})
    plain = run(release, tmp_path / "plain")
    run(release, tmp_path, further_px=[224, 64])
    rows = tables.read(tmp_path / "out" / "index.parquet").to_pylist()
    with Shards(tmp_path / "out") as shards:
        for row, before in zip(rows, plain, strict=True):
            image = media.decode_image((tmp_path / "raw" / f"{row['sample_id']}.jpg").read_bytes())
            box = tuple(map(int, row["crop_xyxy_px"]))
            for side_px in (224, 64):
                jpeg = shards.read(row["shard"], row[f"offset_{side_px}"], row[f"size_{side_px}"])
                assert jpeg == media.encode_jpeg(face_crop(image, box, side_px), 95)
            assert {name: row[name] for name in before if name != "offset"} == {
                name: value for name, value in before.items() if name != "offset"
            }


def test_landmarks_follow_the_crop_by_algebra(tmp_path):
    points = face_points(0)
    points[0], points[1] = (40, 50), (139, 169)  # corners: sides 99 and 119, grown by 10 and 12
    points[2:] = points[2:].clip((40, 50), (139, 169))
    (row,) = run(w300(tmp_path / "release", {"afw/a": points}), tmp_path)
    # edges 40.5 - 10 = 30.5, rounded up to 31; 139.5 + 10 = 149.5 to 150; 50.5 - 12 = 38.5 to 39; 169.5 + 12 to 182
    assert row["crop_xyxy_px"] == [31, 39, 150, 182]
    landmarks = np.array(row["landmarks"]).reshape(68, 2)
    assert landmarks[0] == pytest.approx(((40.5 - 31) * 256 / 119 - 0.5, (50.5 - 39) * 256 / 143 - 0.5), abs=1e-4)
    scale = np.array([256 / 119, 256 / 143])
    assert landmarks == pytest.approx((points + 0.5 - (31, 39)) * scale - 0.5, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_a_dot_drawn_on_a_landmark_is_found_at_the_stored_landmark(tmp_path, seed):
    points = face_points(seed, 60, 180).round()
    x, y = points[30].astype(int)
    image = np.zeros((260, 240, 3), np.uint8)
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    put(tmp_path / "release" / "afw" / "a.png", encoded(image, ".png"))
    put(tmp_path / "release" / "afw" / "a.pts", points_text(points))
    (row,) = run(tmp_path / "release", tmp_path)
    weight = stored(tmp_path, row)[..., 0].astype(float)
    weight[weight < 60] = 0  # compression noise
    rows, columns = np.mgrid[:256, :256]
    found = (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()
    assert found == pytest.approx(row["landmarks"][60:62], abs=0.25)


def test_a_face_at_the_edge_is_filled_with_black(tmp_path):
    (row,) = run(w300(tmp_path / "release", {"afw/a": face_points(0, -30, 60)}), tmp_path)
    x0, y0, _, _ = row["crop_xyxy_px"]
    assert x0 < 0 > y0
    assert stored(tmp_path, row)[:20, :20].max() < 12


def test_faces_that_cannot_be_cut_are_rejects(tmp_path):
    faces = {f"helen/trainset/{name}": face_points(k) for k, name in enumerate(("good", "half", "far", "giant"))}
    faces["helen/trainset/far"] += 5000
    faces["helen/trainset/giant"][0] = 100_000
    release = w300(tmp_path / "release", faces)
    half = release / "helen" / "trainset" / "half.jpg"
    half.write_bytes(half.read_bytes()[:1500])
    put(release / "ibug" / "huge.bmp", b"BM" + bytes(16) + (50_000).to_bytes(4, "little") * 2 + bytes(64))
    put(release / "ibug" / "huge.pts", points_text(face_points(9)))
    assert [row["sample_id"] for row in run(release, tmp_path)] == ["helen/trainset/good"]
    rejects = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert {row["key"]: row["kind"] for row in rejects} == {
        "helen/trainset/far": "face box misses the image",
        "helen/trainset/giant": "face box far larger than the image",
        "helen/trainset/half": "image is cut short",
        "ibug/huge": "image too large",
    }


def test_the_shape_of_the_crop_ignores_the_aspect_of_the_box(tmp_path):
    points = face_points(0)
    points[:, 0] = points[:, 0] / 4 + 20
    (row,) = run(w300(tmp_path / "release", {"afw/a": points}), tmp_path)
    assert (row["width_px"], row["height_px"]) == (256, 256)
    assert stored(tmp_path, row).shape == (256, 256, 3)


def test_a_second_run_gives_the_same_bytes(tmp_path):
    release = w300(tmp_path / "release", {f"afw/{k}": face_points(k) for k in range(5)})
    run(release, tmp_path)
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    run(release, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_a_repeated_name_is_used_once(tmp_path):
    release = w300(tmp_path / "release", {"afw/a": face_points(0)})
    w300(tmp_path / "release" / "copy", {"afw/a": face_points(1)})
    assert [row["sample_id"] for row in run(release, tmp_path)] == ["afw/a"]
    (reject,) = tables.read(tmp_path / "out" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert reject["kind"] == "repeated"
