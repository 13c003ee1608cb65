from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_samples import drawn_faces, noise
from track_samples import write_splits

from pipelines import profile
from stages import measure
from stages.measure import Crop, Framing
from stages.runtime import config, tables, workers
from stages.runtime.errors import Rejected, UserError
from stages.runtime.params import MeasureParams
from stages.storage import media, shards

ROOT = Path(__file__).parents[2]
DETECT = config.parsed(profile.text("sample", ROOT / "profiles"), "sample").detect
JITTER = {"voxceleb1": (150, 150), "voxceleb2": (150, 150)}
ROUND = 0.07  # what a search at a few sizes leaves of the steps between them


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "available", lambda: 1)


def crop(image: np.ndarray, *, seen: tuple[int, int, int, int] | None = None) -> Crop:
    return Crop("made", "1", media.encode_jpeg(image, 95), seen)


def framed(image: np.ndarray, *, seen: tuple[int, int, int, int] | None = None) -> Framing:
    found = measure.framing(crop(image, seen=seen), detect=DETECT)
    assert isinstance(found, Framing)
    return found


def packed(path: Path, images: list[np.ndarray]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with shards.ShardWriter(path) as writer:
        for number, image in enumerate(images):
            data = media.encode_jpeg(image, 95)
            height, width = image.shape[:2]
            place = {"shard": path.name, "offset": writer.add(f"{number}.jpg", data), "size": len(data)}
            rows.append({"sha256": "", "width_px": width, "height_px": height, **place})
    return rows


def write_tracks(root: Path, dataset: str, image: np.ndarray, identities: tuple[str, ...] = ("id1", "id2")) -> None:
    """A track of one frame for each identity; id1 to id3 train, id4 validates."""
    rows = packed(root / "tracks" / dataset / "00000.tar", [image] * len(identities))
    for row, identity in zip(rows, identities, strict=True):
        track = f"{identity}/v/00001"
        names = {"identity_id": identity, "video_id": "v", "track_id": track}
        row |= {"sample_id": f"{track}/000000", "frame": 0, **names}
    tables.write(root / "tracks" / dataset / "index.parquet", tables.TRACK_FRAMES, rows, key=["sample_id"])
    write_splits(root, dataset, rows)


def write_faces(root: Path, dataset: str, images: list[np.ndarray]) -> None:
    rows = packed(root / "faces" / dataset / "00000.tar", images)
    for number, row in enumerate(rows):
        row |= {"sample_id": f"{number}", "group_id": f"{number}", "owner_split": "", "subset": ""}
        row["crop_xyxy_px"] = [0, 0, 256, 256]
    tables.write(root / "faces" / dataset / "index.parquet", tables.FACES, rows, key=["sample_id"])


def run(root: Path, out: str = "out", **changes: Any) -> dict[tuple[str, str], dict[str, Any]]:
    settings = {
        "seed": 7,
        "track_sets": ["voxceleb1"],
        "face_sets": ["aflw", "w300"],
        "jitter_px": JITTER,
        "oversample": {"voxceleb1": 2},
        "detect": DETECT,
        "measure": MeasureParams(crops=3),
    }
    folders = {"tracks": root / "tracks", "faces": root / "faces", "splits": root / "splits"}
    measure.run(**folders, out=root / out, **{**settings, **changes})
    rows = tables.read(root / out / "framing.parquet", tables.FRAMING).to_pylist()
    return {(row["kind"], row["dataset"]): row for row in rows}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training sees 150 of 190 px, in which the face has the share that it has in `aflw`; in `w300` it is larger."""
    root = tmp_path_factory.mktemp("data")
    write_tracks(root, "voxceleb1", drawn_faces(190, 190, (95, 95, 100)))
    write_faces(root, "aflw", [drawn_faces(256, 256, (128, 128, 171)), noise(256, 256)])
    write_faces(root, "w300", [drawn_faces(256, 256, (128, 128, 215))])
    return root


def test_the_share_of_a_face_follows_its_size_without_the_steps_of_the_detector():
    """A search at one size gives 0.76 to 0.95 of these sides, since the sizes of dlib are a factor of 1.2 apart."""
    for side in (110, 150, 210):
        assert framed(drawn_faces(256, 256, (128, 128, side))).face_frac * 256 / side == pytest.approx(0.85, rel=ROUND)


def test_the_share_of_a_face_does_not_depend_on_the_size_of_the_stored_image():
    large, small = (framed(drawn_faces(px, px, (px // 2, px // 2, px * 6 // 10))) for px in (256, 190))
    assert small == pytest.approx(large, rel=ROUND)


def test_the_centre_of_a_face_is_found_where_it_lies():
    middle, moved = (framed(drawn_faces(256, 256, (*centre, 140))) for centre in ((128, 128), (98, 158)))
    assert moved.x_frac - middle.x_frac == pytest.approx(-30 / 256, abs=0.04)
    assert moved.y_frac - middle.y_frac == pytest.approx(30 / 256, abs=0.04)


def test_of_a_track_the_square_that_training_cuts_is_the_measure():
    image = drawn_faces(256, 256, (128, 128, 120))
    whole, seen = framed(image), framed(image, seen=(56, 106, 206, 256))
    assert seen.face_frac == pytest.approx(whole.face_frac * 256 / 150)
    assert seen.x_frac == pytest.approx((whole.x_frac * 256 - 56) / 150)
    assert seen.y_frac == pytest.approx((whole.y_frac * 256 - 106) / 150)


def test_a_face_that_reaches_beyond_its_crop_is_measured_too():
    image = drawn_faces(256, 256, (128, 128, 200))
    whole, side_px = framed(image), 128
    cut = image[128 - side_px // 2 :, 128 - side_px // 2 :][:side_px, :side_px]
    assert whole.face_frac * 256 / side_px > 1
    assert framed(cut).face_frac == pytest.approx(whole.face_frac * 256 / side_px, rel=2 * ROUND)


def test_a_crop_without_a_face_or_that_cannot_be_decoded_is_rejected_with_the_reason():
    found = measure.framing(crop(noise(256, 256)), detect=DETECT)
    assert isinstance(found, Rejected)
    assert str(found) == "no face detected: at any of 3 sizes"
    damaged = measure.framing(Crop("made", "1", b"no image", None), detect=DETECT)
    assert isinstance(damaged, Rejected)
    assert damaged.kind != found.kind


def test_a_data_set_whose_faces_are_larger_than_in_training_is_apart(inputs):
    rows = run(inputs)
    assert list(rows) == [
        ("face tracks", "all"), ("face tracks", "voxceleb1"), ("still images", "aflw"), ("still images", "w300"),
    ]  # fmt: skip
    trained, same, larger = (rows[key] for key in list(rows)[1:])
    assert rows["face tracks", "all"] == {**trained, "dataset": "all"}
    assert trained["n"] == 3
    assert trained["difference"] == 0
    assert abs(same["difference"]) < ROUND
    assert larger["difference"] == pytest.approx(larger["face_frac"] / trained["face_frac"] - 1)
    assert [row["is_apart"] for row in rows.values()] == [False, False, False, True]


def test_crops_without_a_face_are_counted_and_listed(inputs):
    rows = run(inputs, "listed")
    assert [(row["n"], row["missed"]) for row in rows.values()] == [(3, 0), (3, 0), (1, 1), (1, 0)]
    rejects = tables.read(inputs / "listed" / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["dataset"], row["key"], row["stage"], row["kind"]) for row in rejects] == [
        ("aflw", "1", "measure", "no face detected")
    ]


def test_the_stage_says_which_margin_to_look_at(inputs, caplog):
    caplog.set_level("INFO")
    run(inputs, "said")
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("measure still")]
    assert "against training" not in said[0]
    assert "against training: give it another margin" in said[1]


def test_equal_seeds_give_equal_bytes_in_any_order_of_the_data_sets(inputs):
    run(inputs, "one")
    run(inputs, "other", face_sets=["w300", "aflw"])
    one, other = ((inputs / name / "framing.parquet").read_bytes() for name in ("one", "other"))
    assert one == other


def test_a_data_set_counts_in_the_mixture_by_the_draws_from_it():
    small, large = Framing(0.5, 0.5, 0.5), Framing(0.7, 0.5, 0.5)
    found = {"voxceleb1": [small] * 10, "voxceleb2": [large, None] * 5}
    mixed = measure._mixture({"voxceleb1": 30, "voxceleb2": 10}, found, 8)
    assert mixed == [small] * 6 + [large, None]


def test_tracks_without_a_training_identity_have_no_numbers_and_nothing_is_apart(tmp_path):
    write_tracks(tmp_path, "voxceleb1", noise(190, 190), ("id4", "id5"))
    write_faces(tmp_path, "w300", [noise(256, 256)])
    rows = run(tmp_path, face_sets=["w300"])
    assert [(row["n"], row["missed"], row["face_frac"]) for row in rows.values()] == [
        (0, 0, None), (0, 0, None), (0, 1, None),
    ]  # fmt: skip
    assert not any(row["is_apart"] for row in rows.values())


def test_a_missing_table_and_a_shard_cut_short_are_user_errors(tmp_path):
    write_tracks(tmp_path, "voxceleb1", noise(190, 190))
    with pytest.raises(UserError, match=r"w300.index.parquet is missing: run `dvc repro` to make it"):
        run(tmp_path, face_sets=["w300"])
    write_faces(tmp_path, "w300", [noise(256, 256)])
    (tmp_path / "faces" / "w300" / "00000.tar").write_bytes(b"")
    with pytest.raises(UserError, match="cut short"):
        run(tmp_path, face_sets=["w300"])
