"""Binary files of a valid structure with odd values in it. Hypothesis draws them."""

import io
import json
import sqlite3
import struct
import zlib
from contextlib import closing, suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import seeds
import seeds_of_media
import seeds_of_results
from hypothesis import strategies as st
from odd_values import bits, deep, nested, numbers, printable, real, whole, words
from scipy.io import savemat

from stages.runtime import tables


@st.composite
def models(draw: Any) -> bytes:
    """Model files with an odd description, or odd tensors."""
    data = seeds_of_results.models()[0]
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    description = json.loads(header["__metadata__"]["fabnet"])
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 3))):
            at = draw(
                st.sampled_from([of for of in (description, description["settings"]) if isinstance(of, dict) and of])
            )
            at[draw(st.sampled_from(sorted(at)))] = draw(nested)
        if draw(st.booleans()):
            crop = {
                "detector": "yunet",
                "weights_sha256": "",
                "upsample": [0],
                "min_score": 0.5,
                "margin_frac": 0.1,
                "crop_px": 64,
                "scaling": "",
            }
            description["crop"] = {**crop, draw(st.sampled_from(sorted(crop))): draw(nested)}
            head = {"name": "a", "dataset": "w300", "task": "a", "probe": "points", "columns": ["x"], "l2": 1.0}
            description["heads"] = [{**head, draw(st.sampled_from(sorted(head))): draw(nested)}]
    else:
        name = draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
        header[name] = {
            "dtype": draw(st.sampled_from(["F32", "F64", "U8", "BOOL", "F8_E5M2", "I64", "C64", "x"])),
            "shape": draw(st.lists(bits[32], max_size=4)),
            "data_offsets": draw(st.lists(whole, min_size=2, max_size=2)),
        }
    header["__metadata__"]["fabnet"] = draw(
        st.one_of(st.just(json.dumps(description)), st.just(json.dumps(description)), deep)
    )
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


@st.composite
def parquets(draw: Any, schema: pa.Schema) -> bytes:
    """Tables of which columns are missing, of another type, or hold odd values; with odd metadata."""
    count, columns = draw(st.integers(0, 4)), {}
    for field in schema:
        kind = draw(
            st.sampled_from([field.type, field.type, field.type, pa.string(), pa.float64(), pa.list_(pa.int8())])
        )
        columns[field.name] = pa.nulls(count, kind) if draw(st.booleans()) else _column(draw, kind, count)
    if columns and draw(st.integers(0, 3)) == 0:
        del columns[draw(st.sampled_from(sorted(columns)))]
    metadata = {tables.VERSION: draw(st.sampled_from([tables.SCHEMA_VERSION] * 3 + ["1", "", "\u202e"]))}
    metadata |= {
        key: draw(st.one_of(numbers, nested.map(json.dumps), deep)).encode("utf-8", "replace")[:9000]
        for key in (tables.STEPS, tables.PARTS)
    }
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns).replace_schema_metadata(metadata),
        buffer,
        compression=draw(st.sampled_from(["zstd", "none", "snappy"])),
    )
    return buffer.getvalue()


def _column(draw: Any, kind: pa.DataType, count: int) -> Any:
    if pa.types.is_string(kind):
        values = [draw(words).encode("utf-8", "replace").decode() for _ in range(count)]
    elif pa.types.is_binary(kind):
        values = [draw(st.binary(max_size=9)) for _ in range(count)]
    elif pa.types.is_integer(kind):
        values = [draw(st.sampled_from([0, -1, 1, 127])) for _ in range(count)]
    elif pa.types.is_floating(kind):
        values = [draw(real) for _ in range(count)]
    else:
        return pa.nulls(count, kind)
    return pa.array(values, kind)


@st.composite
def arrays(draw: Any) -> bytes:
    """`.npy` files with an odd header."""
    kinds = st.sampled_from(
        [
            "<f8",
            "|S900000000",
            "<U900000000",
            "|O",
            "<i0",
            "<M8[Y]",
            "|V8",
            [("a", "<f8"), ("b", "|O")],
            "<f16",
            ">U1",
            "x",
        ]
    )
    header = {
        "descr": draw(kinds),
        "fortran_order": draw(st.sampled_from([False, True, 1, "x"])),
        "shape": tuple(draw(st.lists(whole, max_size=40))),
    }
    text = draw(st.one_of(st.just(repr(header)), st.just("(" * 400 + ")" * 400), words)).encode("utf-8", "replace")
    version = draw(st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\4\0"]))
    length = struct.pack("<H" if version == b"\1\0" else "<I", draw(st.one_of(st.just(len(text)), bits[16])))
    return b"\x93NUMPY" + version + length + text + draw(st.binary(max_size=64))


@st.composite
def matrices(draw: Any) -> bytes:
    """`.mat` files that hold something else where boxes are expected."""
    values = st.one_of(
        st.just(np.ones((1, 4))),
        real.map(np.float64),
        words.map(lambda text: text.encode("ascii", "replace").decode()),
        st.integers(0, 5).map(lambda n: np.ones((1, n))),
        st.just(np.zeros((1, 0), object)),
    )
    entries = np.zeros((1, draw(st.integers(0, 3))), object)
    for number in range(entries.shape[1]):
        entries[0, number] = {"imgName": draw(values), "bb_ground_truth": draw(values)}
    buffer = io.BytesIO()
    savemat(
        buffer,
        {draw(st.sampled_from(["bounding_boxes", "boxes"])): draw(st.sampled_from([entries, entries.T, np.ones(3)]))},
        do_compression=draw(st.booleans()),
    )
    return buffer.getvalue()


@st.composite
def databases(draw: Any) -> bytes:
    """The database with cells of any type, without a table, or with a view or trigger of that name."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(seeds.databases()[0])
        for number in range(draw(st.integers(1, 4))):
            table, columns = draw(
                st.sampled_from(
                    [("Faces", 2), ("FaceImages", 4), ("FaceRect", 5), ("FacePose", 4), ("NearDuplicates", 1)]
                )
            )
            is_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")][:columns]
            names = names if connection.execute(is_table, (table,)).fetchone() else []
            cell = draw(
                st.one_of(
                    st.none(), st.integers(-(2**63), 2**63 - 1), real, st.binary(max_size=70_000), words.map(printable)
                )
            )
            if names and draw(st.integers(0, 5)):
                with suppress(sqlite3.IntegrityError):
                    connection.execute(f"UPDATE OR IGNORE {table} SET {draw(st.sampled_from(names))} = ?", (cell,))
            elif names:
                connection.execute(f"ALTER TABLE {table} RENAME TO gone_{number}_{table}")
                endless = (
                    "WITH RECURSIVE c(face_id) AS (SELECT 1 UNION ALL SELECT face_id + 1 FROM c) SELECT face_id FROM c"
                )
                connection.execute(
                    draw(st.sampled_from([f"CREATE VIEW {table} AS {endless}", f"CREATE TABLE {table} (x)"]))
                )
        return connection.serialize()


@st.composite
def pictures(draw: Any) -> bytes:
    """Images whose headers claim odd sizes, with right checksums."""
    sides = [draw(bits[32]), draw(bits[32])]
    match draw(st.sampled_from(["png", "bmp", "tiff", "jpeg", "ppm"])):
        case "png":
            chunks = [
                (
                    b"IHDR",
                    struct.pack(">2I5B", *sides, *(draw(st.sampled_from([0, 1, 2, 3, 6, 8, 16])) for _ in range(5))),
                )
            ]
            kinds = st.sampled_from([b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"acTL", b"fdAT", b"eXIf", b"zTXt"])
            chunks += [
                (draw(kinds), draw(st.one_of(st.binary(max_size=60), st.just(zlib.compress(bytes(10**6))))))
                for _ in range(draw(st.integers(0, 4)))
            ]
            return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in [*chunks, (b"IEND", b"")])
        case "bmp":
            head = struct.pack(
                "<3I2H6I",
                40,
                *sides,
                1,
                draw(st.sampled_from([1, 4, 8, 16, 24, 32])),
                draw(bits[32]),
                *[0] * 4,
                draw(bits[32]),
            )
            return b"BM" + struct.pack("<3I", 0, 0, 54) + head + draw(st.binary(max_size=200))
        case "tiff":
            tags = draw(
                st.lists(
                    st.tuples(
                        st.sampled_from([256, 257, 258, 259, 262, 273, 277, 278, 279, 322, 323, 324, 325, 339]),
                        st.sampled_from([1, 3, 4, 5, 16]),
                        bits[32],
                        bits[32],
                    ),
                    max_size=14,
                )
            )
            usual = [(256, 4, 1, sides[0]), (257, 4, 1, sides[1])]
            entries = sorted({tag: (tag, *rest) for tag, *rest in [*tags, *usual]}.values())
            body = b"".join(struct.pack("<2H2I", *entry) for entry in entries)
            return (
                b"II*\0"
                + struct.pack("<IH", 8, len(entries))
                + body
                + struct.pack("<I", draw(st.sampled_from([0, 8, 2**31])))
                + draw(st.binary(max_size=99))
            )
        case "jpeg":
            data = bytearray(draw(st.sampled_from(seeds_of_media.jpegs())))
            for _ in range(draw(st.integers(1, 3))):
                at = data.find(b"\xff" + draw(st.sampled_from([b"\xc0", b"\xc2", b"\xc4", b"\xda", b"\xdb"])))
                if 0 <= at < len(data) - 12:
                    struct.pack_into(">H", data, at + draw(st.sampled_from([2, 5, 7])), draw(bits[16]))
            return bytes(data)
    return f"P{draw(st.sampled_from('123456'))}\n{sides[0]} {sides[1]}\n{draw(bits[16])}\n".encode() + draw(
        st.binary(max_size=99)
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
