"""What two passes of the detector find and cost, against enlarging every image: yield and time in one run.

Reads a folder in AffectNet's layout; nothing is written into it:

    PYTHONPATH=. python benchmarks/detection.py data/raw/affectnet

Both ways search every image in turn, decoding included, in one process; which of them goes first changes from
image to image. `seconds` are of processor time, so other work on the machine disturbs them little.
"""

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from benchmarks.rows import Row, SkippedError
from stages import detect
from stages.faces import detection
from stages.releases.readers import MANIFEST, Face
from stages.runtime import plugins
from stages.runtime.errors import Rejected
from stages.storage import media

RAW, FEW = Path("data/raw/affectnet"), 200  # images of a comparison beside others
MOST_LOST_POINTS, LEAST_RATIO = 0.5, 2.5


@dataclass
class Way:
    """One way to search images, and its result."""

    name: str
    passes: Sequence[int]
    seconds: float = 0.0
    found: int = 0


def main() -> None:
    """Time both ways and print a line for each, then whether the bounds are kept."""
    wanted = arguments()
    search = detection.detector(wanted.detector, wanted.weights, wanted.min_score)
    ways, images = timed(wanted.folder, wanted.images, search)
    print(f"{wanted.detector}, {plugins.load('stages.detectors', wanted.detector).version()}: {images} images")
    for way in ways:
        share = 100 * way.found / images
        print(f"{way.name:<16} {way.found:>6} found {share:>7.2f} % {way.seconds:>8.1f} s")
    lost = 100 * (ways[0].found - ways[1].found) / images
    ratio = ways[0].seconds / ways[1].seconds
    verdict = "kept" if lost <= MOST_LOST_POINTS and ratio >= LEAST_RATIO else "MISSED"
    print(f"two passes lose {lost:.2f} points of yield (at most {MOST_LOST_POINTS}) and are {ratio:.2f} times as fast "
          f"(at least {LEAST_RATIO}): {verdict}")  # fmt: skip


def compare(_: argparse.Namespace) -> Iterator[Row]:
    """A row for images that `fetch` has brought."""
    if not RAW.is_dir():
        raise SkippedError(f"{RAW} is missing: run `dvc repro fetch@affectnet`")
    (enlarged, twice), images = timed(RAW, FEW, detection.detector("dlib_hog", "", 0.0))
    what = f"dlib_hog, two passes over {images} images"
    yield Row("detection", what, "s of a processor", "enlarging every image", twice.seconds, enlarged.seconds)


def timed(folder: Path, count: int, search: detection.Detector) -> tuple[list[Way], int]:
    """Both ways, and the number of images."""
    cv2.setNumThreads(1)
    ways = [Way("always enlarged", [1]), Way("two passes", [0, 1])]
    images = 0
    with tempfile.TemporaryDirectory() as link:
        for face in chosen(release(folder, Path(link)), count):
            data = media.read_file(folder / face.image)
            for way in ways if images % 2 else ways[::-1]:
                look(way, face, data, search)
            images += 1
    return ways, images


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a release in AffectNet's layout")
    parser.add_argument("--images", type=int, default=0, metavar="N", help="a seeded choice (default: all)")
    parser.add_argument("--detector", default="dlib_hog", choices=plugins.names("stages.detectors"))
    parser.add_argument("--weights", default="", help="its weight file")
    parser.add_argument("--min-score", type=float, default=0.0)
    return parser.parse_args()


def release(folder: Path, link: Path) -> Iterator[Face]:
    """The usable faces of the lists, read through links beside a manifest of the folder."""
    for path in folder.iterdir():
        if path.name != MANIFEST:
            (link / path.name).symlink_to(path.resolve())
    files = [
        {"name": path.relative_to(folder).as_posix(), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    (link / MANIFEST).write_text(json.dumps({"files": files}), encoding="utf-8")
    items = plugins.load("stages.datasets", "affectnet").read(link).items
    yield from (item for item in items if isinstance(item, Face))


def chosen(faces: Iterator[Face], count: int) -> list[Face]:
    """All of them, or `count` by a fixed seed."""
    every = list(faces)
    return random.Random(0).sample(every, count) if 0 < count < len(every) else every


def look(way: Way, face: Face, data: bytes, search: detection.Detector) -> None:
    """Decode the image and search it this way; neither way finds a face in an unreadable image."""
    start = time.process_time()
    try:
        detect.find_face(media.decode_image(data), face.box_xyxy_px, detector=search, passes=way.passes)
        way.found += 1
    except Rejected:
        pass
    way.seconds += time.process_time() - start


if __name__ == "__main__":
    main()
