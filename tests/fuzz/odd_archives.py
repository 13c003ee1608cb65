"""Archives of a valid structure with odd values in it. Hypothesis draws them."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Sequence
from typing import Any

import seeds
from hypothesis import strategies as st
from odd_values import Files, bits, numbers, printable, whole, words


@st.composite
def archives(draw: Any, names: Sequence[str]) -> bytes:
    """ZIP archives with odd names, attributes and flags, of which numbers in the directory are wrong."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in draw(st.lists(st.one_of(st.sampled_from(names), words.map(printable)), max_size=4)):
            info = zipfile.ZipInfo(name or "x")
            info.compress_type = draw(st.sampled_from([0, 8, 8, 12, 14]))
            info.external_attr = draw(st.sampled_from([0, 0o100644 << 16, 0o120777 << 16, 0o040755 << 16, 2**32 - 1]))
            info.extra = draw(
                st.one_of(st.just(b""), st.binary(max_size=24), st.just(struct.pack("<2H2Q", 1, 16, 9, 2**63)))
            )
            if info not in archive.filelist:
                archive.writestr(info, draw(st.sampled_from([b"", b"a" * 40, bytes(5000), bytes(10**6)])))
        archive.comment = draw(st.sampled_from([b"", b"PK\5\6", bytes(30)]))
    data = bytearray(buffer.getvalue())
    fields = (
        ("<H", 8),
        ("<H", 10),
        ("<I", 16),
        ("<I", 20),
        ("<I", 24),
        ("<H", 28),
        ("<H", 30),
        ("<H", 34),
        ("<I", 38),
        ("<I", 42),
    )
    for _ in range(draw(st.integers(0, 3))):
        at, (form, offset) = data.find(b"PK\1\2", draw(st.integers(0, 200))), draw(st.sampled_from(fields))
        if 0 <= at < len(data) - 46:
            struct.pack_into(form, data, at + offset, draw(bits[16 if form == "<H" else 32]))
    return bytes(data)


@st.composite
def tars(draw: Any, names: Sequence[str]) -> bytes:
    """Tar archives whose members have odd names, kinds, sizes and extended headers, with right checksums."""
    blocks: list[bytes] = []
    kinds = b"0", b"0", b"\0", b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"L", b"K", b"x", b"g", b"X", b"Z"
    for _ in range(draw(st.integers(0, 5))):
        data = draw(st.one_of(st.binary(max_size=600), _records()))
        info = tarfile.TarInfo(printable(draw(st.one_of(st.sampled_from(names), words)))[:90])
        info.type, info.size = (
            draw(st.sampled_from(kinds)),
            draw(st.one_of(st.just(len(data)), st.just(len(data)), bits[32])),
        )
        info.linkname = printable(draw(st.one_of(st.sampled_from(names), words)))[:90]
        head = bytearray(info.tobuf(tarfile.GNU_FORMAT)[-512:])
        if draw(st.booleans()):
            field = draw(st.sampled_from([(100, 8), (124, 12), (136, 12), (257, 8), (345, 12), (386, 24), (482, 20)]))
            head[field[0] : sum(field)] = draw(st.binary(min_size=field[1], max_size=field[1]))
        head[148:156] = b"        "
        head[148:156] = b"%06o\0 " % sum(head)
        blocks += [bytes(head), data, bytes(-len(data) % 512)]
    return (
        b"".join(blocks) + bytes(draw(st.sampled_from([1024, 0, 512, 10240]))) + draw(st.sampled_from([b"", b"junk"]))
    )


def _records() -> Files:
    """Records of an extended header of a tar archive."""
    keys = st.sampled_from(
        [
            "path",
            "size",
            "linkpath",
            "GNU.sparse.map",
            "GNU.sparse.major",
            "GNU.sparse.size",
            "mtime",
            "hdrcharset",
            "x",
        ]
    )
    record = st.builds(lambda key, value: f" {key}={printable(value)}\n", keys, numbers)
    return st.lists(
        st.builds(
            lambda text, extra: f"{len(text.encode()) + extra}{text}".encode(),
            record,
            st.sampled_from([1, 2, 3, 0, 99, -1]),
        ),
        max_size=4,
    ).map(b"".join)


@st.composite
def workbooks(draw: Any) -> bytes:
    """Workbooks with odd cells, packed without compression."""
    with zipfile.ZipFile(io.BytesIO(seeds.workbooks()[1])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    texts = st.one_of(numbers, whole.map(str)).map(lambda text: text.replace("<", "").replace("&", ""))
    kind = st.sampled_from(["s", "n", "b", "str", "inlineStr", "e", "d", "x"])
    place = st.one_of(
        st.sampled_from(["A1", "XFD1048576", "", "A", "1", "AAAA1", "A0", "A99999999"]),
        words.map(lambda text: text.replace('"', "").replace("<", "").replace("&", "")),
    )
    cell = st.builds('<c r="{}" t="{}"><v>{}</v></c>'.format, place, kind, texts)
    row = st.builds('<row r="{}">{}</row>'.format, whole, st.lists(cell, max_size=4).map("".join))
    sheet = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
    members["xl/worksheets/sheet1.xml"] = sheet.format("".join(draw(st.lists(row, max_size=4)))).encode(
        "utf-8", "replace"
    )
    if draw(st.integers(0, 4)) == 0:
        del members[draw(st.sampled_from(sorted(members)))]
    return seeds.zip_bytes(members)
