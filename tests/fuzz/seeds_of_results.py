"""Small tables, models and weights, as this project and the libraries that it uses write them."""

import io
import json
import tempfile
from functools import cache
from pathlib import Path

import pyarrow as pa
import released_samples
import safetensors.torch
import torch
from media_samples import encoded, noise
from model_samples import described

from fabnet.modules import model_file
from fabnet.pretext import autoencoder, released
from pipelines.fingerprints import crops
from pipelines.own import options, provenance, retrieve
from stages.runtime import tables
from stages.storage.shards import ShardWriter

RELEASED = released.Params("", "", 32, 1, 2)
GALLERY = pa.schema([
    ("frame", pa.int32()),
    ("source", pa.string()),
    *((name, pa.float64()) for name in retrieve.COLUMNS if name not in ("frame", "source")),
    ("embedding", pa.list_(pa.float32())),
])  # fmt: skip
PACKED = {"shard": "00000.tar", "offset": 512, "size": 700, "sha256": "", "width_px": 24, "height_px": 16}


def shards() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "00000.tar")
        with ShardWriter(path) as writer:
            for number in range(2):
                writer.add(f"{number}.jpg", encoded(noise(24, 16, number)))
        return [path.read_bytes()]


def face_tables() -> list[bytes]:
    rows = [{"sample_id": str(number), "group_id": "g", "owner_split": "test", "subset": "", **PACKED,
             "crop_xyxy_px": [0, 0, 9, 9], "near_copy_digest": b"12345678"} for number in range(3)]  # fmt: skip
    return [table_bytes(tables.FACES, rows)]


def embedding_tables() -> list[bytes]:
    rows = [{"sample_id": str(number), "embedding": [0.5, 1.5, 2.5]} for number in range(3)]
    return [table_bytes(tables.EMBEDDINGS, rows, {tables.STEPS: "10", tables.PARTS: '{"pose": [0, 2]}'})]


def reject_tables() -> list[bytes]:
    row = {"dataset": "w300", "key": "a", "stage": "index", "kind": "no points", "detail": ""}
    return [table_bytes(tables.REJECTS, [row, {**row, "key": "b"}])]


def table_bytes(schema, rows, metadata=None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        tables.write(
            path, schema, rows, key=[schema.names[0] if schema is not tables.REJECTS else "key"], metadata=metadata
        )
        return path.read_bytes()


def crop_tables() -> list[bytes]:
    row = {"sample_id": "a", "width_px": 9, "height_px": 9, "sha256": "0" * 64}
    rows = [{field.name: row.get(field.name) for field in crops.SCHEMA}]
    metadata = {crops.KIND: crops.CROPS, crops.DATASET: "w300", crops.RELEASE: "00", crops.SETTINGS: '{"crop": 1}'}
    return [table_bytes(crops.SCHEMA, rows, metadata)]


def galleries() -> list[bytes]:
    row = {"source": "a.mp4", "embedding": [0.5, 1.5]}
    rows = [{**dict.fromkeys(GALLERY.names, 1), **row, "frame": number} for number in range(3)]
    return [table_bytes(GALLERY, rows)]


def own_tables() -> list[bytes]:
    known = {provenance.KIND: provenance.FACES, provenance.COMMAND: "embed", provenance.FPS: "25.0"}
    known |= {provenance.ONE_FACE: "false", provenance.SOURCES: '[["a.mp4", null]]'}
    known |= {options.OPTIONS: options.packed(options.Options())}
    row = {"dataset": "w300", "key": "a", "stage": "index", "kind": "no points", "detail": ""}
    return [table_bytes(tables.REJECTS, [row], known)]


def training_states() -> list[bytes]:
    buffer = io.BytesIO()
    state = {
        "checkpoints": {},
        "history": [{"epoch": 1, "loss": 0.5}],
        "trainer": {"step": 3, "weights": torch.ones(4)},
    }
    torch.save(state, buffer)
    return [buffer.getvalue()]


def journal_units() -> list[bytes]:
    reject = {"key": "a", "kind": "no points", "detail": "", "image": "", "box_xyxy_px": None, "owner_split": None}
    return [table_bytes(tables.REJECTS, [], {"items": "3", "shard_bytes": "0", "rejects": json.dumps([reject])})]


@cache
def models() -> list[bytes]:
    params = autoencoder.Params(width=1, embedding=2)
    method = autoencoder.build(params, size_px=32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, model_file.NAME)
        model_file.write(path, described("autoencoder", {"width": 1, "embedding": 2}, dims=2), method)
        return [path.read_bytes()]


def weight_files() -> list[bytes]:
    net, head = released_samples.networks(of=RELEASED)
    contents = [released_samples.published(net, head), released_samples.training(net)]
    packed = [
        released_samples.packed(content, is_zip=is_zip).read() for content in contents for is_zip in (True, False)
    ]
    return [*packed, safetensors.torch.save(net.encoder.state_dict())]
