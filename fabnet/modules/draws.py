"""Random numbers of a training step, made on the device itself."""

import torch
from torch import Tensor, nn

from fabnet.modules import ranks

LOW_32 = 0xFFFFFFFF


class Draws(nn.Module):
    """Uniform numbers for every sample of a batch: other ones in each training step, the same in every evaluation.

    They follow from the number of the step, which is saved with the weights, and from the sample's place in the whole
    batch. So a resumed training goes on as if it had never stopped, several processes that share a batch draw what one
    would, and a GPU is never waited for.
    """

    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, samples: int, numbers: int) -> Tensor:
        """(samples, numbers) float32 in [0, 1) for this process's `samples`; call it once in each step."""
        if self.training:
            self.step += 1
        place = torch.arange(samples, device=self.step.device) + ranks.number() * samples
        number = torch.arange(numbers, device=self.step.device)
        step = self.step if self.training else torch.zeros_like(self.step)
        bits = _mixed(_mixed(_mixed(step)[None] + place)[:, None] + number)
        return (bits >> 8).float() / 2**24  # as many bits as float32 holds


def _mixed(value: Tensor) -> Tensor:
    """Numbers below 2^33 -> numbers below 2^32 that look unrelated (Wellons, lowbias32: an integer hash)."""
    value = value & LOW_32
    value = (value ^ (value >> 16)) * 0x7FEB352D & LOW_32
    value = (value ^ (value >> 15)) * 0x846CA68B & LOW_32
    return value ^ (value >> 16)
