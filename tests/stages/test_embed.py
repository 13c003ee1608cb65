import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import track_samples
from face_samples import COUNT, face_image, write_faces
from model_samples import described
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import fabnet
from fabnet.modules import crops
from fabnet.modules.method import Fixed
from fabnet.pretext import random, released
from stages import embed
from stages.evaluation import parts
from stages.runtime import tables
from stages.runtime.errors import UserError
from stages.runtime.params import EmbedParams
from stages.storage import media, shards
from stages.training import models

SIZE_PX = 32


def write_model(folder: Path, *, spoil: bool = False) -> nn.Module:
    settings = {"width": 4, "embedding": 6}
    net = models.build(random, random.Params(**settings), seed=3, size_px=SIZE_PX)
    if spoil:
        nn.init.constant_(net.encoder[-1].bias, float("nan"))
    models.save(folder, described("random", settings), net)
    return net.encoder.eval()


def keep_checkpoints(folder: Path, *steps: int) -> dict[int, nn.Module]:
    """Other weights after each of `steps`, as training keeps them."""
    settings = {"width": 4, "embedding": 6}
    nets = {step: models.build(random, random.Params(**settings), seed=step, size_px=SIZE_PX) for step in steps}
    for step, net in nets.items():
        models.save_checkpoint(folder, net, step)
    return {step: net.encoder.eval() for step, net in nets.items()}


def run(root: Path, out: str = "out", *, batch: int = 3, track_sets: list[str] | None = None) -> dict[str, np.ndarray]:
    embed.run(
        model=root / "model",
        faces=root / "faces",
        tracks=root / "tracks",
        track_splits=root / "splits",
        out=root / out,
        journal=root / "journal",
        face_sets=["affectnet"],
        track_sets=track_sets or [],
        followed=["affectnet"],
        embed=EmbedParams(batch=batch, device="cpu", frames_per_track=3),
    )
    return embeddings(root / out / "affectnet.parquet")


def embeddings(path: Path) -> dict[str, np.ndarray]:
    rows = tables.read(path, tables.EMBEDDINGS).to_pylist()
    return {row["sample_id"]: np.array(row["embedding"], np.float32) for row in rows}


def embedded(encoder: nn.Module, rgb: np.ndarray) -> np.ndarray:
    """What the encoder makes of an image that was stored as JPEG."""
    stored = media.decode_image(media.encode_jpeg(rgb, 95))
    with torch.no_grad():
        return encoder(crops.resize(torch.from_numpy(stored)[None], SIZE_PX)).flatten().numpy()


def reasons(out: Path) -> dict[str, str]:
    return {row["key"]: row["kind"] for row in tables.read(out / "rejects.parquet", tables.REJECTS).to_pylist()}


def test_an_embedding_is_that_of_the_stored_crop_in_rgb(tmp_path: Path):
    encoder = write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    found = run(tmp_path)
    assert sorted(found) == [str(number) for number in range(COUNT)]
    assert found["4"] == pytest.approx(embedded(encoder, face_image(4)), abs=1e-5)


def test_an_image_that_was_cut_out_at_the_encoders_side_is_taken_as_it_is(tmp_path: Path):
    encoder = write_model(tmp_path / "model")
    folder = tmp_path / "faces" / "affectnet"
    write_faces(folder)
    data = media.encode_jpeg(face_image(9)[:SIZE_PX, :SIZE_PX], 95)
    with shards.ShardWriter(folder / "00001.tar") as writer:
        place = {f"offset_{SIZE_PX}": writer.add("x.jpg", data), f"size_{SIZE_PX}": len(data)}
    rows = [row | place | {"shard": "00001.tar"} for row in tables.read(folder / "index.parquet").to_pylist()]
    schema = tables.faces_schema({}, tables.further(SIZE_PX))
    tables.write(folder / "index.parquet", schema, rows, key=["sample_id"])
    assert run(tmp_path)["4"] == pytest.approx(embedded(encoder, face_image(9)[:SIZE_PX, :SIZE_PX]), abs=1e-5)


def test_convolutions_are_not_rounded_to_tf32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[bool] = []
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    forward = nn.Conv2d.forward

    def noted(self: nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return forward(self, inputs)

    monkeypatch.setattr(nn.Conv2d, "forward", noted)
    run(tmp_path)
    fabnet.load(tmp_path / "model").embed(np.zeros((1, 40, 40, 3), np.uint8))
    assert set(seen) == {False}


def test_the_resize_is_that_of_pil():
    image = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    reference = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR), np.float32)
    ours = crops.resize(torch.from_numpy(image)[None], 64)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - reference).max() <= 1.0


def test_embeddings_do_not_depend_on_the_batch(tmp_path: Path):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    one, many = run(tmp_path, "one", batch=1), run(tmp_path, "many", batch=64)
    for key, vector in one.items():
        assert vector == pytest.approx(many[key], abs=1e-5)


def test_a_truncated_image_becomes_a_reject_and_the_others_stay(tmp_path: Path):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet", broken=(0, 1, 2, 5))
    assert sorted(run(tmp_path)) == ["3", "4", "6"]
    assert reasons(tmp_path / "out") == dict.fromkeys("0125", "image is cut short")


def test_an_embedding_that_is_not_finite_becomes_a_reject(tmp_path: Path):
    write_model(tmp_path / "model", spoil=True)
    write_faces(tmp_path / "faces" / "affectnet")
    assert run(tmp_path) == {}
    assert set(reasons(tmp_path / "out").values()) == {"the embedding is not finite"}


def test_a_killed_run_resumes_and_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed, "BATCHES_PER_UNIT", 1)
    write_model(tmp_path / "model")
    keep_checkpoints(tmp_path / "model", 5)
    write_faces(tmp_path / "faces" / "affectnet")
    run(tmp_path, "whole")
    calls: list[str] = []
    load = embed._load

    def dying(folder: shards.Shards, row: dict[str, Any], size_px: int) -> torch.Tensor:
        calls.append(row["sample_id"])
        if row["sample_id"] == "6" and calls.count("6") == 2:  # in the second table, that of the checkpoint
            raise KeyboardInterrupt
        return load(folder, row, size_px)

    monkeypatch.setattr(embed, "_load", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "resumed")
    assert not (tmp_path / "resumed").exists()
    run(tmp_path, "resumed")
    assert calls.count("0") == 2
    assert calls.count("6") == 3
    for name in ("affectnet.parquet", "checkpoints/00000005/affectnet.parquet", "rejects.parquet"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "journal").rglob("units"))


@pytest.mark.parametrize("size", [0, 200])
def test_a_unit_that_a_power_cut_has_emptied_or_cut_is_embedded_again(size, tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr(embed, "BATCHES_PER_UNIT", 1)
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    run(tmp_path, "whole")
    with monkeypatch.context() as patched:
        patched.setattr(embed, "_write_all", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    unit = sorted((tmp_path / "journal").rglob("units/*/*.parquet"))[1]
    unit.write_bytes(unit.read_bytes()[:size])
    with caplog.at_level("INFO"):
        run(tmp_path)
    assert "what was embedded for affectnet is damaged: it is kept as" in caplog.text
    assert (tmp_path / "out" / "affectnet.parquet").read_bytes() == (tmp_path / "whole/affectnet.parquet").read_bytes()


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_image_that_the_disk_has_changed_is_a_user_error(tmp_path: Path):
    write_model(tmp_path / "model")
    folder = tmp_path / "faces" / "affectnet"
    write_faces(folder)
    rows = tables.read(folder / "index.parquet", tables.FACES).to_pylist()
    data = bytearray((folder / "00000.tar").read_bytes())
    for row in rows:
        row["sha256"] = hashlib.sha256(data[row["offset"] : row["offset"] + row["size"]]).hexdigest()
    tables.write(folder / "index.parquet", tables.FACES, rows, key=["sample_id"])
    assert set(run(tmp_path, "healthy")) == {row["sample_id"] for row in rows}
    data[rows[3]["offset"] + rows[3]["size"] // 2] ^= 1
    (folder / "00000.tar").write_bytes(data)
    with pytest.raises(UserError, match=r"00000\.tar holds other bytes at \d+ than were written there"):
        run(tmp_path)


def test_every_checkpoint_embeds_the_followed_data_sets_with_its_own_weights(tmp_path: Path):
    final = write_model(tmp_path / "model")
    encoders = {"": final} | {
        f"checkpoints/{step:08d}/": encoder for step, encoder in keep_checkpoints(tmp_path / "model", 4, 8).items()
    }
    write_faces(tmp_path / "faces" / "affectnet")
    run(tmp_path)
    for (place, encoder), steps in zip(encoders.items(), (10, 4, 8), strict=True):
        path = tmp_path / "out" / place / "affectnet.parquet"
        assert embeddings(path)["2"] == pytest.approx(embedded(encoder, face_image(2)), abs=1e-5)
        assert tables.read(path).schema.metadata[b"steps"] == str(steps).encode()


def test_evenly_spread_frames_of_the_test_tracks_are_embedded(tmp_path: Path):
    encoder = write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    track_samples.write_tracks(tmp_path, frames=9, short="id6")
    run(tmp_path, track_sets=["voxceleb1"])
    found = embeddings(tmp_path / "out" / "voxceleb1.parquet")
    numbers = {"v1": (0,), "v2": (1, 4, 7)}  # the first track has one frame, the second nine
    assert sorted(found) == [
        f"id6/{video}/00001/{5 * number:06d}" for video, chosen in numbers.items() for number in chosen
    ]
    rows = tables.read(tmp_path / "out" / "voxceleb1.parquet", tables.TRACK_EMBEDDINGS).to_pylist()
    assert {(row["identity_id"], row["video_id"]) for row in rows} == {("id6", "v1"), ("id6", "v2")}
    assert all(row["sample_id"].startswith(f"{row['identity_id']}/{row['video_id']}/") for row in rows)
    expected = embedded(encoder, track_samples.frame_image("id6/v2/00001", 20))
    assert found["id6/v2/00001/000020"] == pytest.approx(expected, abs=1e-5)


def test_among_thousands_of_tracks_each_gives_its_middle_frame(tmp_path: Path):
    track_samples.write_many_tracks(tmp_path)
    splits = tmp_path / "splits" / "voxceleb1.parquet"
    rows = embed._test_frames(tmp_path / "tracks" / "voxceleb1", splits, 1).rows
    assert sorted(rows["sample_id"].to_pylist()) == sorted(
        f"id6/v{number}/00001/{(2 + number % 7) // 2:06d}" for number in range(5, 3000, 6)
    )


def test_a_track_data_set_without_a_test_split_gives_an_empty_table(tmp_path: Path):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    track_samples.write_tracks(tmp_path)
    path = tmp_path / "splits" / "voxceleb1.parquet"
    rows = [row for row in tables.read(path).to_pylist() if row["split"] != "test"]
    tables.write(path, tables.SPLITS, rows, key=["sample_id"])
    run(tmp_path, track_sets=["voxceleb1"])
    assert embeddings(tmp_path / "out" / "voxceleb1.parquet") == {}


def test_a_missing_model_is_a_user_error(tmp_path: Path):
    write_faces(tmp_path / "faces" / "affectnet")
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        run(tmp_path)


def test_a_truncated_shard_is_a_user_error(tmp_path: Path):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    shard = tmp_path / "faces" / "affectnet" / "00000.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(UserError, match="it was cut short"):
        run(tmp_path)


def test_a_head_that_came_with_the_weights_is_written_beside_the_embeddings(tmp_path: Path):
    settings = {"weights": "", "weights_sha256": "", "size_px": SIZE_PX, "width": 4, "embedding": 6}
    net = released.build(released.Params(**settings), size_px=SIZE_PX)
    net.head.grow(torch.ones(3, 6))
    models.save(tmp_path / "model", described("released", settings), net)
    write_faces(tmp_path / "faces" / "affectnet")
    run(tmp_path)
    assert [path.name for path in (tmp_path / "out" / "own_heads").iterdir()] == ["aflw.pose.safetensors"]
    written = load_file(tmp_path / "out" / "own_heads" / "aflw.pose.safetensors")
    assert torch.equal(written["1.weight"], net.head[1].weight)


def test_tables_name_the_parts_of_the_embeddings_and_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    run(tmp_path)
    monkeypatch.setattr(Fixed, "parts", {"pose": (0, 2), "rest": (2, 6)})
    run(tmp_path, "parts")
    assert parts.named(tmp_path / "out" / "affectnet.parquet") == {}
    assert parts.named(tmp_path / "parts" / "affectnet.parquet") == {"pose": (0, 2), "rest": (2, 6)}
