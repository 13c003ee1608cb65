"""How the faces that a network was trained on were found and cut. Importable without PyTorch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Crop:
    """How a face was cut out of its image: what is embedded has to be cut alike."""

    detector: str  # module of stages/detectors
    weights_sha256: str  # of the detector's weight file; empty if it needs none
    upsample: tuple[int, ...]  # doublings of the image before each pass
    min_score: float  # below which a box is ignored, in the detector's own scale
    margin_frac: float  # growth of the box on each side, as a fraction of the side
    crop_px: int  # side of the crop; 0: as it was cut

    # What becomes of the detected box: `fabnet.boxes.crop_box`, and `cut` in `fabnet.images`.
    box: str = "the smallest square around the box, edges at the nearest whole pixels, black outside the image"
    # How the cut becomes `crop_px` wide, and then the network's input: `resize` in `fabnet.images`, then in
    # `fabnet.modules.crops`.
    scaling: str = (
        "to crop_px by the mean of areas where it shrinks, linear where it grows; then bilinear, anti-aliased"
    )
