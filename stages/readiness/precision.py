"""A precision in which this processor computes more slowly than in the plain one."""

import torch

from stages.runtime.params import PretrainParams
from stages.training import models

# `vicreg`, 64 px, width 16, batch 16, on an AMD EPYC with AVX2: 1.6 steps a second in bfloat16, 12.9 in float32.
SLOW = (
    "params.yaml: pretrain.precision bfloat16 is slow on this processor, which has no instructions for it; a step "
    "may take eight times as long as in float32: set it to float32"
)


def slow(pretrain: PretrainParams) -> str:
    """Why training would be slow in its precision, and the way out; empty if it is not."""
    on_cpu = pretrain.device == "cpu" or (pretrain.device == "auto" and models.device("auto").type == "cpu")
    return SLOW if pretrain.precision == "bfloat16" and on_cpu and not has_bfloat16() else ""


def has_bfloat16() -> bool:
    """Whether oneDNN takes bfloat16 on this CPU; without it PyTorch's own loops do. True where nobody can tell."""
    told = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # it has no public name, and may get another
    return told is None or told()
