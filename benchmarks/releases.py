"""Rendered releases in data/raw's layout, for benchmarks that prepare one."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import fetch
from stages.runtime import plugins
from stages.runtime.params import CropParams, DetectParams, FetchParams, GeometryParams, SyntheticParams

SECONDS = 8.0  # about the mean of VoxCeleb2's clips
CROP = {"jpeg_quality": 95, "tracks_per_unit": 64}
GEOMETRY = GeometryParams(scale_px=256, pad_ltrb_px=(20, 80, 20, 30), centre_px=190)  # of VoxCeleb2
DETECT = DetectParams(
    detector="dlib_hog",
    weights="",
    weights_sha256="",
    upsample=[0, 1],
    min_score=0.0,
    margin_frac=0.2,
    crop_px=256,
    jpeg_quality=95,
    images_per_unit=100,
)


@contextmanager
def places() -> Iterator[dict[str, Path]]:
    """Where a stage writes, by the names of its arguments; all of it is thrown away."""
    with tempfile.TemporaryDirectory() as name:
        yield {place: Path(name) / place for place in ("out", "sheets", "journal")}


def cropping(fps: float) -> CropParams:
    """The parameters of `crop` for so many frames a second."""
    return CropParams(fps=fps, **CROP)


def tracks(folder: Path, clips: int, copies: int) -> Path:
    """VoxCeleb2 with `clips` rendered clips, each under as many names as there are copies."""
    rendered, release = folder / "rendered", folder / "release"
    _publish("voxceleb2", rendered, identities=clips, tracks_per_identity=1, seconds=SECONDS, parts=1)
    release.mkdir()
    (rendered / "vox2_meta.csv").rename(release / "vox2_meta.csv")
    with (
        zipfile.ZipFile(rendered / "vox2_dev_mp4_partaa") as few,
        zipfile.ZipFile(release / "vox2_dev_mp4_partaa", "w") as many,
    ):
        for name in few.namelist():
            for copy in range(copies):
                many.writestr(f"{name.removesuffix('.mp4')}{copy:03d}.mp4", few.read(name))
    return _brought("voxceleb2", release, folder)


def images(folder: Path, count: int, copies: int) -> Path:
    """AffectNet with about `count` rendered images, each under as many names as there are copies.

    Each copy ends in another byte behind the JPEG, because images of equal content are used once.
    """
    release = folder / "release"
    _publish("affectnet", release, training=count - count // 5, validation=count // 5)
    for path in sorted((release / "Manually_Annotated_Images").rglob("*.jpg")):
        for copy in range(1, copies):
            path.with_name(f"{copy}-{path.name}").write_bytes(path.read_bytes() + bytes([copy]))
    for path in (release / "Manually_Annotated_file_lists").iterdir():
        lines = path.read_text(encoding="utf-8").splitlines()
        named = [line for line in lines if ".jpg" in line]
        lines += [line.replace("/", f"/{copy}-", 1) for copy in range(1, copies) for line in named]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return _brought("affectnet", release, folder)


def clips_of(raw: Path) -> list[bytes]:
    """All clips of such a release."""
    with zipfile.ZipFile(raw / "vox2_dev_mp4_partaa") as archive:
        return [archive.read(name) for name in archive.namelist()]


def _publish(dataset: str, release: Path, **settings: Any) -> None:
    release.mkdir(parents=True)
    module = plugins.load("stages.synthetic", dataset)
    module.publish(release, module.Params(**settings), seed=0)


def _brought(dataset: str, release: Path, folder: Path) -> Path:
    """`data/raw` of the release, with its manifest."""
    fetch.run(
        dataset=dataset,
        out=folder / "raw",
        registries=folder / "no registry",  # rendered files have no published digests
        journal=folder / "journal",
        synthetic=SyntheticParams(seed=0),
        settings={},
        fetch=FetchParams(source="folder", folder=str(release)),
    )
    return folder / "raw"
