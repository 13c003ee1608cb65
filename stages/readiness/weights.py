"""Weight files that the user supplies: each is there, is the one that the parameters name, and fits."""

from collections.abc import Mapping
from typing import Any

from stages.faces import detection
from stages.runtime import plugins
from stages.runtime.params import DetectParams
from stages.training import models


def check_detector(detect: DetectParams) -> None:
    """Open the detector.

    Raises:
        UserError: its weight file is missing, another one, or not of this detector.
    """
    detection.configured(detect)


def check_method(name: str, values: Mapping[str, Any], size_px: int) -> None:
    """Build a method that takes supplied weights; for any other one there is nothing to check.

    Raises:
        UserError: its weight file is missing, another one, or does not fit.
    """
    module = plugins.load("fabnet.pretext", name)
    settings = plugins.settings(module, values, f"method.{name}")
    if hasattr(settings, "weights"):
        models.build(module, settings, seed=0, size_px=size_px)
