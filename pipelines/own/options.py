"""Options of all commands on one's own faces: the trained network, and how faces are detected."""

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import TypeAdapter

from fabnet.modules.face_crop import Crop
from pipelines.own import networks
from pipelines.own.detection import Search
from pipelines.own.networks import Device
from stages.faces import detection
from stages.runtime.errors import UserError
from stages.runtime.files import file_digest

if TYPE_CHECKING:
    from fabnet.inference.network import Network

MAX_FPS = 1000
MOST_BETWEEN = 100  # searched frames; those between are in memory together
DETECT_EVERY = 6  # loses no face of talking heads, and shifts boxes by about what the detector does itself

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Count = Annotated[int, Parameter(validator=Number(gt=0))]


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """How the network runs and faces are detected."""

    model: Path | None = None
    "Model file, or its folder. If left out: what FABNET_MODEL names, else data/packages/fabnet-0 of the project."
    released: Path | None = None
    "Instead of a model file, one of the authors' release, such as affectnet_4views.pth, with the probe head in it."
    device: Device = "auto"
    "Where the network runs; `auto` takes the accelerator if there is one."
    detector: str | None = None
    "Another face detector than the model's: dlib_hog, dlib_cnn or yunet."
    weights: Path | None = None
    "The detector's weight file, if it needs one."
    min_score: float | None = None
    "Weakest detection that counts, in the detector's own scale."
    detect_every: Annotated[int, Parameter(validator=Number(gt=0, lte=MOST_BETWEEN))] = DETECT_EVERY
    "Search every so many frames of a video for faces, or one every 1/4 s; between them faces are interpolated."
    largest: Flag = False
    "Use only the largest face of each image or frame."
    crops: Flag = False
    "The images are face crops already: detect no faces."


OPTIONS = "options"  # in the metadata of a table
_CHECKED = TypeAdapter(Options)


class Ready(NamedTuple):
    """What a command on one's own faces works with."""

    net: "Network"
    search: Search
    metadata: dict[str, str]  # of a table, that name network and detector


def check_fps(fps: float | None) -> None:
    """Check the frames of a video per second; None: all.

    Raises:
        UserError: not a number above 0, or more than MAX_FPS.
    """
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise UserError(f"--fps should be above 0 and at most {MAX_FPS} frames a second, found {fps:g}")


def ready(options: Options) -> Ready:
    """The trained network and how faces are detected; says on stderr if it knows only rendered heads.

    Raises:
        UserError: no model file, one that this version cannot use, one that does not say how faces are cut, or no
            such detector.
    """
    path, kind = networks.choose(options.model, options.released)
    net = networks.load(path, options.device, kind)
    if net.crop is None:
        raise UserError(f"{path} does not say how faces are cut: run `dvc repro package` and take its file")
    faces_search, provenance = search(net, options)
    networks.say_limits(net.description, path)
    used = packed(options if kind == "released" else replace(options, model=path))
    return Ready(net, faces_search, {**networks.metadata(net, path), **provenance, OPTIONS: used})


def packed(options: Options) -> str:
    """Options as JSON."""
    values = asdict(options).items()
    return json.dumps({name: str(value) if isinstance(value, Path) else value for name, value in values})


def unpacked(text: str) -> Options:
    """Options from JSON.

    Raises:
        ValueError: it is not what `packed` makes.
    """
    values = json.loads(text)
    options = _CHECKED.validate_python(values)
    unknown = set(values) - {field.name for field in fields(Options)}
    if unknown:
        raise ValueError(f"unknown options {', '.join(sorted(unknown))}")
    return options


def search(net: "Network", options: Options) -> tuple[Search, dict[str, str]]:
    """How faces are detected and cut: by the model's crop and the options; and metadata that name the detector.

    Raises:
        UserError: no such detector, or not the weight file that it needs.
    """
    weights = str(options.weights or "")
    if options.crops:
        return Search(net.crop, is_largest_only=options.largest, is_cropped=True), {}
    crop = _crop(net.crop, options)
    provenance = detection.provenance(crop.detector, weights, crop.weights_sha256, crop.min_score, setting="--weights")
    if options.min_score is None and crop.detector != net.crop.detector:
        raise UserError(f"--detector {crop.detector} should come with --min-score, in its own scale: 0 suits dlib, "
                        "0.6 yunet")  # fmt: skip
    return Search(crop, weights, options.largest, detect_every=options.detect_every), provenance


def _crop(crop: Crop, options: Options) -> Crop:
    """The model's crop with detector, weight file and score of the options."""
    path = options.weights
    digest = file_digest(path) if path and path.is_file() else ""
    if options.detector is None and crop.weights_sha256 not in ("", digest):
        raise UserError(f"--weights should be the weight file of {crop.detector} with the sha256 "
                        f"{crop.weights_sha256}, with which the model's faces were found: "
                        f"found {path or 'none'}")  # fmt: skip
    min_score = crop.min_score if options.min_score is None else options.min_score
    if not math.isfinite(min_score):
        raise UserError(f"--min-score should be a finite number, found {min_score}")
    return replace(crop, detector=options.detector or crop.detector, weights_sha256=digest, min_score=min_score)
