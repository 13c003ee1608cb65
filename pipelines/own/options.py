"""What all commands on one's own faces ask for: the trained network, and how faces are found."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from pipelines.own.looking import Search
from stages.faces import detection
from stages.runtime.errors import UserError
from stages.runtime.files import file_digest
from stages.runtime.params import DetectParams

if TYPE_CHECKING:
    from fabnet.inference.network import Network

MODEL = Path("data/packages/fabnet-0")  # of the first seed, as the stage `package` leaves it

Device = Literal["auto", "cpu", "cuda"]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Fps = Annotated[float | None, Parameter(validator=Number(gt=0, lte=1000))]
Count = Annotated[int, Parameter(validator=Number(gt=0))]


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """How the network is run and faces are found."""

    model: Path = MODEL
    "Model file that the stage `package` wrote, or its folder."
    device: Device = "auto"
    "Where the network runs; `auto` takes the accelerator if there is one."
    detector: str | None = None
    "Another face detector than the model's: dlib_hog, dlib_cnn or yunet."
    weights: Path | None = None
    "The detector's weight file, if it needs one."
    min_score: float | None = None
    "Weakest detection that counts, in the detector's own scale."
    largest: Flag = False
    "Take the largest face of each picture or frame alone."
    crops: Flag = False
    "The pictures are face crops already: look for no faces."


def network(options: Options) -> "Network":
    """The trained network.

    Raises:
        UserError: no model file, none that this version can use, or one that does not say how faces are cut.
    """
    import fabnet  # noqa: PLC0415  PyTorch takes seconds; `--help` and the processes that look for faces need none

    if not options.model.exists():
        raise UserError(f"{options.model} does not exist: make it with `dvc repro package`, or name one with --model")
    try:
        net = fabnet.load(options.model, options.device)
    except ValueError as error:
        raise UserError(str(error)) from None
    if net.crop is None:
        raise UserError(f"{options.model} does not say how faces are cut: run `dvc repro package` and take its file")
    return net


def about(net: "Network", model: Path) -> dict[str, str]:
    """What a table says about the network behind it."""
    from fabnet.modules import model_file  # noqa: PLC0415  as above

    described = net.description
    path = model / model_file.NAME if model.is_dir() else model
    return {
        "model": f"{described.method}, seed {described.seed}, {described.steps} steps, {described.size_px} px",
        "model_sha256": file_digest(path),
        "config_hash": described.config_hash,
        "crop": json.dumps(asdict(net.crop)),
    }


def search(net: "Network", options: Options) -> tuple[Search, dict[str, str]]:
    """How faces are found and cut: as the model's crop says, but for what the options replace. And what does it.

    Raises:
        UserError: no such detector, or not the weight file that it needs.
    """
    crop = net.crop
    found = Search(
        detector=options.detector or crop.detector,
        weights=str(options.weights or ""),
        min_score=crop.min_score if options.min_score is None else options.min_score,
        passes=crop.upsample,
        margin_frac=crop.margin_frac,
        crop_px=crop.crop_px,
        is_largest_only=options.largest,
        is_cropped=options.crops,
    )
    if options.crops:
        return found, {}
    provenance = _provenance(found, crop.weights_sha256 if options.detector is None else "")
    if options.min_score is None and found.detector != crop.detector:
        raise UserError(f"--detector {found.detector} should come with --min-score, in its own scale: 0 suits dlib, "
                        "0.6 yunet")  # fmt: skip
    return found, provenance


def _provenance(found: Search, wanted_sha256: str) -> dict[str, str]:
    digest = file_digest(Path(found.weights)) if found.weights and Path(found.weights).is_file() else ""
    if wanted_sha256 and digest != wanted_sha256:
        raise UserError(f"--weights should be the weight file of {found.detector} with the sha256 {wanted_sha256}, "
                        f"with which the model's faces were found: found {found.weights or 'none'}")  # fmt: skip
    params = DetectParams(
        detector=found.detector, weights=found.weights, weights_sha256=digest, upsample=list(found.passes),
        min_score=found.min_score, crop_px=found.crop_px, jpeg_quality=95, images_per_unit=1, shard_mb=1,
    )  # fmt: skip
    try:
        return detection.provenance(params)
    except UserError as error:
        raise UserError(str(error).replace("detect.weights", "--weights")) from None
