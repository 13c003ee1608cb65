"""Small valid inputs of texts, annotations and archives, in the forms in which people have them."""

import io
import lzma
import sqlite3
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import openpyxl
import rar_files
from releases import AFFECTNET_HEADER, VOX1_HEADER, VOX2_HEADER, face_points, points_text, zip_bytes
from scipy.io import savemat

from stages.acquisition import registry

ROOT = Path(__file__).parents[2]
UNITS = 60
MEMBERS = {"people/1.6/vid/1/0000006.jpg": b"\xff\xd8" + b"a" * 40, "people/list.txt": b"name\n" * 20}
CLIPS = {
    "dev/mp4/id00012/v1/00001.mp4": b"\0\0\0\x18ftypmp42" + b"b" * 40,
    "dev/mp4/id00015/v2/00002.mp4": b"c" * 70,
    "dev/mp4/id00015/v2/00003.mp4": b"d" * 50,
}


def texts(*lines: str) -> list[bytes]:
    """The lines as people's programs save them."""
    return ["\n".join(lines).encode(), "\r\n".join([*lines, ""]).encode("utf-8-sig"), "\n".join(lines).encode("utf-16")]


def registries() -> list[bytes]:
    return [path.read_bytes() for path in sorted(registry.FOLDER.glob("*.txt"))]


def points() -> list[bytes]:
    return [points_text(face_points(1)).encode(), points_text(face_points(2)).replace("\n", "\r\n").encode()]


def meta_tables() -> list[bytes]:
    return [
        *texts(VOX1_HEADER, "id10001\tA.J._Buckley\tm\tIreland\tdev", "id10002\tA.R._Rahman\tm\tIndia\ttest"),
        *texts(VOX2_HEADER, "id00012 ,n000012 ,m ,dev ", "id00015 ,n000015 ,m ,dev "),
    ]


def affectnet_lists() -> list[bytes]:
    cells = "1/a.jpg,10,10,90,90,{},1,0.5,-0.5"
    return texts(AFFECTNET_HEADER, cells.format(";".join(["1.5"] * 136)), cells.format(",".join(["1.5"] * 136)))


def emotionet_lists() -> list[bytes]:
    urls = "http://owner.example/1/N_0000000001/N_0000000001_00001.jpg", "http://old.example/a.jpg"
    units = ["1", "0", "999"] * (UNITS // 3)
    header = "'URL','orig_url'," + ",".join(f"'AU {unit}'" for unit in range(1, UNITS + 1))
    return [*texts("\t".join([*urls, *units]), "\t".join([*urls, *units])), *texts(header, ",".join([*urls, *units]))]


@cache
def workbooks() -> list[bytes]:
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["URL", "orig_url", *(f"'AU {unit}'" for unit in range(1, UNITS + 1))])
    book.active.append(["http://a.example/N_0000000001_00001.jpg", "http://b.example/b.jpg", *[1, 0, 999] * 20])
    book.save(buffer)
    with zipfile.ZipFile(buffer) as archive:  # without compression, damage reaches what is inside
        plain = zip_bytes({name: archive.read(name) for name in archive.namelist()})
    return [buffer.getvalue(), plain]


def celeba_points() -> list[bytes]:
    names = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    return texts("2", names, "000001.jpg 69  109  106  113   77  142   73  152  108  154", "000002.jpg" + "  70" * 10)


def box_files() -> list[bytes]:
    entry = np.zeros((1, 2), object)
    for number in range(2):
        box = {"imgName": f"image_{number}.jpg", "bb_detector": np.ones((1, 4)), "bb_ground_truth": np.ones((1, 4)) * 9}
        entry[0, number] = box
    plain, packed = io.BytesIO(), io.BytesIO()
    savemat(plain, {"bounding_boxes": entry})
    savemat(packed, {"bounding_boxes": entry}, do_compression=True)
    return [plain.getvalue(), packed.getvalue()]


def code_files() -> list[bytes]:
    found = []
    for value in (np.array("3"), np.array(3.0), np.array([3]), np.array(b"3")):
        buffer = io.BytesIO()
        np.save(buffer, value)
        found.append(buffer.getvalue())
    return found


@cache
def databases() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "aflw.sqlite")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(
                "PRAGMA page_size = 1024;"
                "CREATE TABLE Faces (face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);"
                "CREATE TABLE FaceImages (file_id TEXT, filepath TEXT, width INTEGER, height INTEGER);"
                "CREATE TABLE FaceRect (face_id INTEGER, x INTEGER, y INTEGER, w INTEGER, h INTEGER);"
                "CREATE TABLE FacePose (face_id INTEGER, roll REAL, pitch REAL, yaw REAL);"
                "CREATE TABLE NearDuplicates (face_id INTEGER);"
                "INSERT INTO Faces VALUES (1, 'image1', 'f'), (2, 'image1', 'f'), (3, 'image2', 'f');"
                "INSERT INTO FaceImages VALUES ('image1', '0/image1.jpg', 300, 200), ('image2', '2/b.jpg', 10, 10);"
                "INSERT INTO FaceRect VALUES (1, 5, 5, 90, 90), (2, 100, 5, 90, 90), (3, 0, 0, 9, 9);"
                "INSERT INTO FacePose VALUES (1, 0.1, -0.2, 3.9), (2, 0, 0, 0), (3, 1, 1, 1);"
                "INSERT INTO NearDuplicates VALUES (2);"
            )
        return [path.read_bytes()]


def manifests() -> list[bytes]:
    return [b'{"dataset": "w300", "files": [{"name": "afw/1.jpg", "sha256": "00"}], "source": "folder"}']


def zips() -> list[bytes]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CLIPS.items():
            archive.writestr(name, 20 * data)
        archive.writestr("dev/empty/", b"")
    streamed = io.BytesIO()
    with zipfile.ZipFile(_Unseekable(streamed), "w") as archive:  # sizes behind the data
        archive.writestr("dev/mp4/id00012/v1/00001.mp4", b"e" * 60)
    return [zip_bytes(CLIPS), packed.getvalue(), streamed.getvalue()]


class _Unseekable(io.RawIOBase):
    def __init__(self, into: io.BytesIO) -> None:
        super().__init__()
        self._into = into

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        return self._into.write(data)


def tars(members: Mapping[str, bytes] = MEMBERS) -> list[bytes]:
    return [tar_of(members, kind) for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)]


def tar_of(members: Mapping[str, bytes], kind: int) -> bytes:
    """An archive with a link, a folder, a long name and an extended header."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, form in (("people", tarfile.DIRTYPE), ("people/1.6/vid/1/0000012.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = form, "people/1.6/vid/1/0000006.jpg" if form == tarfile.LNKTYPE else ""
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("people/" + "é" * 45 + ("/x" * 60 if kind != tarfile.USTAR_FORMAT else "")))
    return buffer.getvalue()


def rars() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [rar_files.write(Path(folder), "a", MEMBERS, link="people/x")[0].read_bytes()]


def reference_rows() -> list[bytes]:
    lines = (ROOT / "results" / "sample.csv").read_bytes().splitlines(keepends=True)
    return [b"".join(lines[:4]), b"".join(lines[-2:])]


@cache
def parameters() -> list[bytes]:
    return [(ROOT / "params.yaml").read_bytes()]


def answers() -> list[bytes]:
    body = b"name,size\r\n" * 8
    head = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "1"\r\nContent-Type: text/csv\r\n\r\n' % len(body)
    part = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-7/1000\r\nContent-Length: 4\r\n\r\nabcd"
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
    away = b"HTTP/1.1 302 Found\r\nLocation: http://other.example/x\r\nSet-Cookie: a=b; Max-Age=1\r\n\r\n"
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: Sun, 06 Nov 2094 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"
    return [head + body, part, chunks, away, busy]


def pages() -> list[bytes]:
    page = b'<?xml version="1.0"?>\n<!-- a page -->\n<!DOCTYPE html>\n<html><head><title>Expired</title></head></html>'
    return [page, b"your key has expired", b'{"error": "no such key"}', b"\xff\xd8\xff\xe0" + bytes(range(256))]


def urls() -> list[bytes]:
    return [b"https://user:word@host.example:8080/a/b?key=x#y", b"http://[::ffff:127.0.0.1]/x", b"http://2130706433/"]


def notes() -> list[bytes]:
    return [b'["\\"etag\\"", 1000]', b'["N_1/N_1.jpg", ["http://a.example/b"], "gone"]\n' * 2, digests()]


def digests() -> bytes:
    return b'{"a.jpg": [[10, 1700000000000000000, 5], {"sha256": "00"}]}'


def packings(data: bytes) -> list[bytes]:
    """The bytes compressed in every way that is read."""
    import bz2
    import gzip

    return [gzip.compress(data, 1, mtime=0), bz2.compress(data, 1), lzma.compress(data, preset=0)]
