"""Masked autoencoder: rebuild the hidden patches of a frame from the few that are seen (MAE, He et al., CVPR 2022).

A transformer sees a quarter of the patches of a frame; a smaller one gets what it made of them, and one learnt token in
the place of every hidden patch.
Objective: mean squared error over the hidden patches, of pixels that are normalised patch by patch.
Embedding: the mean of the patches' tokens after the last normalisation, of the whole frame.
Departures: ViT-Tiny or a smaller encoder, and a decoder of fewer blocks; no class token; PyTorch's default
initialisation; a patch is a share of the frame, so any input size costs the same. The optimiser is that of all methods,
without warm-up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fabnet.modules.draws import Draws
from fabnet.modules.encoder import depth
from fabnet.modules.method import Method


@dataclass(frozen=True)
class Params:
    width: int  # dimensions of a token in the decoder; MAE 512
    embedding: int  # dimensions of a token in the encoder, and of the embedding; ViT-Tiny 192
    heads: int  # of attention, in both
    blocks: int  # of the encoder; ViT-Tiny 12
    decoder_blocks: int  # MAE 8
    patches: int  # along a side of the frame; MAE 14
    seen: int  # one patch in so many is seen; MAE 4


class Patches(nn.Module):
    """(B, 3, S, S) in [0, 1] -> (B, embedding): the mean of the tokens of all patches."""

    places: Tensor

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        side_px = 2 ** depth(size_px) // params.patches
        self.embed = nn.Conv2d(3, params.embedding, side_px, stride=side_px)
        self.blocks = _transformer(params.embedding, params.heads, params.blocks)
        self.register_buffer("places", places(params.patches, params.embedding), persistent=False)

    def tokens(self, frames: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, N, embedding), row by row."""
        return self.embed(frames).flatten(2).transpose(1, 2) + self.places

    def forward(self, frames: Tensor) -> Tensor:
        return self.blocks(self.tokens(frames)).mean(dim=1)


class MaskedAutoencoder(Method):
    frames = 1
    places: Tensor

    def __init__(self, params: Params, *, size_px: int) -> None:
        super().__init__()
        self.patched = self.encoder = Patches(params, size_px=size_px)
        self.side_px = size_px // params.patches
        self.patches, self.seen = params.patches**2, params.patches**2 // params.seen
        self.narrow = nn.Linear(params.embedding, params.width)
        self.hidden = nn.Parameter(torch.randn(params.width) * 0.02)
        self.decoder = _transformer(params.width, params.heads, params.decoder_blocks)
        self.to_pixels = nn.Linear(params.width, 3 * self.side_px**2)
        self.register_buffer("places", places(params.patches, params.width), persistent=False)
        self.draws = Draws()

    def predict(self, frames: Tensor, order: Tensor) -> Tensor:
        """Frames (B, 3, S, S), and their patches' numbers (B, N), those that are seen first -> pixels (B, N, P)."""
        seen = order[:, : self.seen]
        tokens = self.patched.blocks(_taken(self.patched.tokens(frames), seen))  # (B, seen, embedding)
        narrow = self.narrow(tokens)
        whole = self.hidden.to(narrow.dtype).expand(*order.shape, -1)
        whole = whole.scatter(1, seen[..., None].expand_as(narrow), narrow)  # (B, N, width)
        return self.to_pixels(self.decoder(whole + self.places))

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        """`loss`, which is 1 when every hidden patch is predicted as even."""
        frame = frames[:, 0]
        order = self.draws(len(frame), self.patches).argsort(dim=1)
        hidden = order[:, self.seen :]
        predicted = _taken(self.predict(frame, order), hidden)
        return {"loss": F.mse_loss(predicted, _taken(normalised(frame, self.side_px), hidden))}


def normalised(frames: Tensor, side_px: int) -> Tensor:
    """(B, 3, S, S) -> pixels of each patch (B, N, 3 * side_px^2), with mean 0 and variance 1 in the patch."""
    pixels = F.unfold(frames, side_px, stride=side_px).transpose(1, 2)
    variance, mean = torch.var_mean(pixels, dim=2, keepdim=True)
    return (pixels - mean) / (variance + 1e-6).sqrt()


def places(patches: int, dims: int) -> Tensor:
    """(patches^2, dims): sines and cosines of a patch's row, then as many of its column (MAE, appendix A.1)."""
    down, across = dims // 2, dims - dims // 2
    row, column = _waves(patches, down), _waves(patches, across)
    return torch.cat([row.repeat_interleave(patches, dim=0), column.repeat(patches, 1)], dim=1)


def _waves(count: int, dims: int) -> Tensor:
    """(count, dims): sine and cosine in turn, from fast to slow."""
    number = torch.arange(dims)
    angle = torch.arange(count)[:, None] / 10_000 ** (2 * (number // 2) / dims)
    return torch.where(number % 2 == 0, angle.sin(), angle.cos())


def _taken(rows: Tensor, numbers: Tensor) -> Tensor:
    """Rows (B, N, C), numbers of some of them (B, M) -> (B, M, C)."""
    return rows.gather(1, numbers[..., None].expand(-1, -1, rows.shape[2]))


def _transformer(dims: int, heads: int, blocks: int) -> nn.Sequential:
    layers = [
        nn.TransformerEncoderLayer(
            dims, heads, 4 * dims, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(blocks)
    ]
    return nn.Sequential(*layers, nn.LayerNorm(dims))


def build(params: Params, *, size_px: int) -> Method:
    """A network with PyTorch's default initialisation."""
    return MaskedAutoencoder(params, size_px=size_px)


def problem(params: Params) -> str | None:
    """Why frames or tokens cannot be divided so."""
    if params.patches not in (2, 4, 8, 16, 32):
        return f"patches should be 2, 4, 8, 16 or 32 along a side, found {params.patches}"
    if not 2 <= params.seen <= params.patches**2:
        return f"seen should lie between 2 and {params.patches**2}, the number of patches, found {params.seen}"
    if params.embedding % params.heads or params.width % params.heads:
        return f"heads should divide embedding and width, {params.embedding} and {params.width}, found {params.heads}"
    return None
