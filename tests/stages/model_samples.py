"""Descriptions of small networks."""

from typing import Any

from fabnet.modules.model_file import Description


def described(method: str, settings: dict[str, Any], **changes: Any) -> Description:
    """As training writes it: 32 px, 6 dimensions, seed 3, 10 steps on voxceleb1."""
    fields = {"size_px": 32, "dims": 6, "seed": 3, "steps": 10, "trained_on": ("voxceleb1",)}
    return Description(method, settings, **{**fields, **changes})
