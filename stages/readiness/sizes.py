"""Methods whose input has a size of its own, for which faces would be scaled twice."""

from collections.abc import Iterator

from stages.runtime.params import Params


def scaled_twice(params: Params) -> Iterator[str]:
    """A sentence for each such method: its faces are scaled to the stored size, and from there to its input."""
    cuts = {"detect": (params.detected_sets, params.detect), "index": (params.boxed_sets, params.index)}
    for method in params.methods:
        size_px = params.method[method].get("size_px")  # networks that are trained here see pretrain.size_px
        stages = [
            stage
            for stage, (datasets, cut) in cuts.items()
            if datasets and size_px and size_px not in (cut.crop_px, *cut.further_px)
        ]
        if stages:
            names = " and ".join(f"{stage}.further_px" for stage in stages)
            yield (
                f"params.yaml: {method} sees {size_px} px, to which faces are scaled from their stored size, so twice: "
                f"add {size_px} to {names} to scale them once"
            )
