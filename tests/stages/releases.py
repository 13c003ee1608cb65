"""Small releases in the owners' formats, and a function that puts them into data/raw."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from media_samples import encoded, noise

from stages import fetch
from stages.runtime.params import FetchParams, SyntheticParams

VOX1_HEADER = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
VOX2_HEADER = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set "
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def bring(dataset: str, release: Path, raw: Path, *, verify: bool = False) -> Path:
    """`raw`, after `fetch` has put the release into it."""
    fetch.run(
        dataset=dataset,
        out=raw,
        registries=raw.parent / "no registry",  # made-up files have no published digests
        journal=raw.parent / "journal",
        verify=verify,
        synthetic=SyntheticParams(seed=0),
        settings={},
        fetch=FetchParams(source="folder", folder=str(release)),
    )
    return raw


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def tar_gz(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def frame_members(names: list[str], tracks: int = 2, frames: int = 4) -> dict[str, bytes]:
    """Members of the dense archive: one video per name with `tracks` tracks, every 6th frame of 25 fps."""
    return {
        f"unzippedIntervalFaces/data/{name}/1.6/vid{who}/{track}/{6 * k:07d}.jpg": encoded(
            noise(120 + 8 * who, 120 + 8 * who, seed=1000 * who + 100 * track + k)
        )
        for who, name in enumerate(names, start=1)
        for track in range(1, tracks + 1)
        for k in range(1, frames + 1)
    }


def voxceleb1(folder: Path, members: Mapping[str, bytes], names: list[str]) -> Path:
    tar_gz(folder / "dense-face-frames.tar.gz", members)
    rows = [f"id1{number:04d}\t{name}\tm\tNowhere\tdev" for number, name in enumerate(names, start=1)]
    put(folder / "vox1_meta.csv", "\r\n".join([VOX1_HEADER, *rows]) + "\r\n")
    return folder


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def in_parts(folder: Path, stem: str, data: bytes, parts: int) -> list[Path]:
    size = -(-len(data) // parts)
    return [
        put(folder / f"{stem}_parta{'abcdefgh'[part]}", data[part * size : (part + 1) * size]) for part in range(parts)
    ]


def voxceleb2(folder: Path, clips: Mapping[str, bytes], parts: int = 3) -> Path:
    """`clips` by `<identity>/<video>/<utterance>`."""
    in_parts(folder, "vox2_dev_mp4", zip_bytes({f"dev/mp4/{name}.mp4": data for name, data in clips.items()}), parts)
    rows = [f"{name} ,n{name[2:]} ,m ,dev " for name in sorted({name.split("/")[0] for name in clips})]
    put(folder / "vox2_meta.csv", "\ufeff" + "\n".join([VOX2_HEADER, *rows]) + "\n")
    return folder


def affectnet(folder: Path, training: list[str], validation: list[str], images: Mapping[str, bytes]) -> Path:
    """The full release; lists of csv lines without header, images by path below the image folder."""
    lists = folder / "Manually_Annotated_file_lists"
    put(lists / "training.csv", "\n".join([AFFECTNET_HEADER, *training]) + "\n")
    put(lists / "validation.csv", "\n".join(validation or [AFFECTNET_HEADER]) + "\n")
    for name, data in images.items():
        put(folder / "Manually_Annotated_Images" / name, data)
    return folder


def small_affectnet(folder: Path, **sets: Mapping[int, object]) -> Path:
    """The small release; the expression's code by image number, for `train_set` and `val_set`."""
    for index, (name, codes) in enumerate(sets.items()):
        for number, code in codes.items():
            image = encoded(noise(224, 224, seed=1000 * index + number))
            put(folder / name / "images" / f"{number}.jpg", image)
            annotation = {"exp": str(code), "val": "0.25", "aro": "-0.5", "lnd": np.full(136, 100.5)}
            for kind, value in annotation.items():
                path = folder / name / "annotations" / f"{number}_{kind}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, np.array(value))
    return folder


def points_text(points: np.ndarray) -> str:
    """Text of a .pts file; the first pixel of `points` is 0."""
    lines = [f"{x + 1:.6f} {y + 1:.6f}" for x, y in points]
    return "\n".join(["version: 1", f"n_points:  {len(points)}", "{", *lines, "}"]) + "\n"


def face_points(seed: int, low: float = 40, high: float = 160) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (68, 2)).round(6)


def w300(folder: Path, faces: Mapping[str, np.ndarray], extension: str = ".jpg") -> Path:
    """One 200x220 image per `<folder>/<name>`, with its points."""
    for number, (name, points) in enumerate(faces.items()):
        put(folder / f"{name}{extension}", encoded(noise(200, 220, number), extension))
        put(folder / f"{name}.pts", points_text(points))
    return folder
