"""The lists and annotations of every data set, read as the release that they belong to."""

import json
from pathlib import Path

import odd_archives
import odd_binaries
import odd_texts
import pyarrow as pa
import seeds
from target import Read, Target, consume, put

from stages.datasets import affectnet, aflw, emotionet, mafl, w300
from stages.releases import readers
from stages.releases.readers import Reject
from stages.runtime.errors import UserError


def raw(folder: Path, data: bytes, name: str, others: dict[str, bytes | str]) -> Path:
    """A release with `data` as the file `name`; the other files, which no reader changes, are written once."""
    manifest = folder / readers.MANIFEST
    if not manifest.exists():
        for other, content in others.items():
            put(folder, content.encode() if isinstance(content, str) else content, other)
        listed_files = [{"name": other, "sha256": str(number)} for number, other in enumerate([name, *others])]
        manifest.write_text(json.dumps({"files": listed_files}))
    put(folder, data, name)
    return folder


LISTS = "Manually_Annotated_file_lists/"


IMAGE = "Manually_Annotated_Images/1/a.jpg"


def affectnet_list(data: bytes, folder: Path) -> None:
    consume(
        affectnet.read(raw(folder, data, LISTS + "training.csv", {LISTS + "validation.csv": "1/a.jpg,1\n", IMAGE: "x"}))
    )


def affectnet_code(data: bytes, folder: Path) -> None:
    others = {f"{split}/images/1.jpg": "x" for split in ("train_set", "val_set")}
    consume(affectnet.read(raw(folder, data, "val_set/annotations/1_exp.npy", others)))


def aflw_database(data: bytes, folder: Path) -> None:
    consume(
        aflw.read(raw(folder, data, "aflw.sqlite", {f"flickr/{name}": "x" for name in ("0/image1.jpg", "2/b.jpg")}))
    )


def emotionet_list(name: str) -> Read:
    def read(data: bytes, folder: Path) -> None:
        path = put(folder, data, name)
        for row in emotionet.rows(path):
            pa.array((row.key, row.kind, row.detail) if isinstance(row, Reject) else [row.name], pa.string())
        list(emotionet.image_urls({name: path}))

    return read


MAFL = {
    "list_landmarks_align_celeba.txt": seeds.celeba_points()[0], "training.txt": "000001.jpg\n",
    "testing.txt": "000002.jpg\n", "list_eval_partition.txt": "000001.jpg 0\n",
    "img_align_celeba/000001.jpg": "x", "img_align_celeba/000002.jpg": "x",
}  # fmt: skip


def mafl_file(name: str) -> Read:
    others = {other: content for other, content in MAFL.items() if other != name}
    return lambda data, folder: consume(mafl.read(raw(folder, data, name, others)))


def w300_points(data: bytes, folder: Path) -> None:
    w300.parse_points(data)


def w300_file(data: bytes, folder: Path) -> None:
    consume(w300.read(raw(folder, data, "afw/1.pts", {"afw/1.jpg": "x"})))


def w300_boxes(data: bytes, folder: Path) -> None:
    w300.read_boxes(put(folder, data, "bounding_boxes_afw.mat"))


def manifest(data: bytes, folder: Path) -> None:
    put(folder, data, readers.MANIFEST)
    put(folder, b"x", "afw/1.jpg")
    consume(w300.read(folder))


def voxceleb_meta(data: bytes, folder: Path) -> None:
    path = put(folder, data, "meta.csv")
    for separator, columns in (("\t", ["VoxCeleb1 ID", "VGGFace1 ID"]), (",", ["VoxCeleb2 ID"])):
        try:
            for row in readers.records(path, separator, columns):
                pa.array((row.key, row.kind) if isinstance(row, Reject) else list(row.values()), pa.string())
        except UserError:
            continue


TARGETS = (
    Target("manifest", seeds.manifests, manifest, odd_texts.documents, 200),
    Target("w300 points", seeds.points, w300_points, odd_texts.points, 1500),
    Target("w300 release", seeds.points, w300_file, odd_texts.points, 80),
    Target("w300 boxes", seeds.box_files, w300_boxes, odd_binaries.matrices, 30, is_bounded=True),
    Target(
        "voxceleb meta",
        seeds.meta_tables,
        voxceleb_meta,
        lambda: odd_texts.tables_of(["VoxCeleb1 ID", "VGGFace1 ID"]),
        250,
    ),
    Target(
        "affectnet list",
        seeds.affectnet_lists,
        affectnet_list,
        lambda: odd_texts.tables_of(seeds.AFFECTNET_HEADER.split(",")),
        150,
    ),
    Target("affectnet code", seeds.code_files, affectnet_code, odd_binaries.arrays, 100, is_guided=True),
    Target("aflw database", seeds.databases, aflw_database, odd_binaries.databases, 100),
    Target(
        "emotionet text",
        seeds.emotionet_lists,
        emotionet_list("dataFile_1.txt"),
        lambda: odd_texts.tables_of(["http://a.example/b"] * 62, "\t"),
        120,
    ),
    Target(
        "emotionet csv",
        seeds.emotionet_lists,
        emotionet_list("EmotioNet_FACS.csv"),
        lambda: odd_texts.tables_of(["URL", *map("AU {}".format, range(1, 61))]),
        120,
    ),
    Target(
        "emotionet workbook",
        seeds.workbooks,
        emotionet_list("EmotioNet_FACS.xlsx"),
        odd_archives.workbooks,
        30,
        is_guided=True,
    ),
    Target(
        "mafl points",
        seeds.celeba_points,
        mafl_file("list_landmarks_align_celeba.txt"),
        lambda: odd_texts.tables_of(["1"] * 11, " "),
        120,
    ),
    Target(
        "mafl list",
        lambda: seeds.texts("000001.jpg", "x.jpg"),
        mafl_file("training.txt"),
        lambda: odd_texts.tables_of(["a"], " "),
        60,
    ),
    Target(
        "mafl partition",
        lambda: seeds.texts("000001.jpg 0", "x.jpg 1"),
        mafl_file("list_eval_partition.txt"),
        lambda: odd_texts.tables_of(["a", "0"], " "),
        60,
    ),
)
