from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from face_samples import COUNT, picture, write_faces
from PIL import Image
from torch import nn

from fabnet import crops
from fabnet.pretext import random
from stages import config, embed, media, models, shards, tables
from stages.errors import UserError

SIZE_PX = 32


def write_model(folder: Path, *, spoil: bool = False) -> nn.Module:
    settings = {"width": 4, "embedding": 6}
    net = models.build(random, random.Params(**settings), seed=3, size_px=SIZE_PX)
    if spoil:
        nn.init.constant_(net.encoder[-1].bias, float("nan"))
    models.save(folder, models.ModelCard("random", 3, SIZE_PX, settings, ["voxceleb1"], 10), net)
    return net.encoder.eval()


def run(root: Path, out: str = "out", *, batch: int = 3) -> dict[str, np.ndarray]:
    embed.run(
        model=root / "model",
        faces=root / "faces",
        out=root / out,
        journal=root / "journal",
        detected=["affectnet"],
        boxed=[],
        params=config.EmbedParams(batch=batch, device="cpu"),
    )
    rows = tables.read(root / out / "affectnet.parquet", tables.EMBEDDINGS).to_pylist()
    return {row["sample_id"]: np.array(row["embedding"], np.float32) for row in rows}


def reasons(out: Path) -> dict[str, str]:
    return {row["key"]: row["reason"] for row in tables.read(out / "rejects.parquet", tables.REJECTS).to_pylist()}


def test_an_embedding_is_that_of_the_stored_crop_in_rgb(tmp_path: Path):
    encoder = write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    found = run(tmp_path)
    assert sorted(found) == [str(number) for number in range(COUNT)]
    bgr = media.decode_image(media.encode_jpeg(picture(4), 95))
    rgb = torch.from_numpy(bgr[..., ::-1].copy())
    with torch.no_grad():
        expected = encoder(crops.resize(rgb[None], SIZE_PX)).flatten().numpy()
    assert found["4"] == pytest.approx(expected, abs=1e-5)


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


def test_a_cut_picture_becomes_a_reject_and_the_others_stay(tmp_path: Path):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet", broken=(0, 1, 2, 5))
    assert sorted(run(tmp_path)) == ["3", "4", "6"]
    assert reasons(tmp_path / "out") == dict.fromkeys("0125", "picture is cut short")


def test_an_embedding_that_is_no_number_becomes_a_reject(tmp_path: Path):
    write_model(tmp_path / "model", spoil=True)
    write_faces(tmp_path / "faces" / "affectnet")
    assert run(tmp_path) == {}
    assert set(reasons(tmp_path / "out").values()) == {"the embedding is not finite"}


def test_a_run_that_was_killed_goes_on_and_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed, "BATCHES_PER_UNIT", 1)
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    run(tmp_path, "whole")
    calls: list[str] = []
    load = embed._load

    def dying(folder: shards.Shards, row: dict[str, Any], size_px: int) -> torch.Tensor:
        calls.append(row["sample_id"])
        if row["sample_id"] == "6" and calls.count("0") == 1 and calls.count("6") == 1:
            raise KeyboardInterrupt
        return load(folder, row, size_px)

    monkeypatch.setattr(embed, "_load", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "resumed")
    assert not (tmp_path / "resumed").exists()
    run(tmp_path, "resumed")
    assert calls.count("0") == 1
    assert calls.count("6") == 2
    for name in ("affectnet.parquet", "rejects.parquet"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "journal").rglob("*.parquet"))


def test_a_missing_model_is_told_in_one_sentence(tmp_path: Path):
    write_faces(tmp_path / "faces" / "affectnet")
    with pytest.raises(UserError, match=r"model.json is missing"):
        run(tmp_path)


def test_a_shard_that_was_cut_short_is_told_in_one_sentence(tmp_path: Path):
    write_model(tmp_path / "model")
    write_faces(tmp_path / "faces" / "affectnet")
    shard = tmp_path / "faces" / "affectnet" / "00000.tar"
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(UserError, match="it was cut short"):
        run(tmp_path)
