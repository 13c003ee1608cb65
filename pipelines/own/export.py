"""A model file as programs for other runtimes: ONNX, or what `torch.export` writes.

Two programs, both for any number B of images:

- `<out>`, the encoder: `images` (B, 3, S, S) float32 RGB in [0, 1] -> `embedding` (B, D) float32. Resizing to S is up
  to the caller: bilinear and anti-aliased, as `fabnet.modules.crops.resize` does it.
- `<out>-attributes`, if probes have heads: `embedding` (B, D) float32 -> one float32 output for each attribute, in the
  order of their names. Classes and action units are probabilities (B, K); angles are radians (B, 3); points are x, y
  (B, 2 P) in [-1, 1] between the outer edges of the image.

Both carry the description of the model file: in the metadata of ONNX, as `fabnet.json` in the other. The encoder that
`torch.export` writes can be evaluated as method `own` of kind `export`, with mean 0 and std 1.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fabnet.inference.network import Network
from pipelines.own import networks, outputs
from pipelines.own.programs import BATCHES, Pack, Program, Running, Start, example
from stages.runtime.errors import UserError
from stages.runtime.files import replace_bytes

TOLERANCE = 1e-4  # of an output, in units of its largest value if that is above 1


class Attributes(nn.Module):
    """Embeddings (B, D) float32 -> what each probe makes of them, float32; computed in float64 like the probes."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.heads = nn.ModuleList(head.fitted.head for head in net.heads)
        self.links = [head.fitted.link for head in net.heads]

    def forward(self, embedding: Tensor) -> list[Tensor]:
        x = embedding.double()
        return [link(head(x)).float() for head, link in zip(self.heads, self.links, strict=True)]


def export(model: Path | None, out: Path, *, released: Path | None = None) -> float:
    """Write the programs of a network; returns the largest difference of an output from the network's own.

    The network is that of `model` or of `released`, a file of the authors' release; without both it is found as
    `networks.locate` does it.

    The name of `out` says what it is to be: *.onnx, or *.pt2 for torch.export.

    Nothing is written unless all of them agree with the network on random input.

    Raises:
        UserError: no usable model file, a package that is missing, a network that cannot be exported or would differ.
    """
    path, kind = networks.choose(model, released)
    outputs.check(out, [".onnx", ".pt2"], [path])
    net = networks.load(path, "cpu", kind)
    pack, start = _onnx() if out.suffix.lower() == ".onnx" else (_pack_torch, _start_torch)
    differences: list[float] = []
    files: dict[Path, bytes] = {}
    for program in _programs(net):
        data = _packed(program, pack, net)
        running = start(data)
        differences += [_difference(program, running, batch) for batch in BATCHES]
        files[out.with_name(f"{out.stem}{program.name}{out.suffix}")] = data
    if not all(difference <= TOLERANCE for difference in differences):  # NaN is not agreement
        raise UserError(
            f"{path}: the exported program differs from the network by {max(differences):.2g}, above {TOLERANCE:g}: "
            "nothing was written"
        )
    networks.say_limits(net.description, path)
    for file, data in files.items():
        replace_bytes(file, data)
    return max(differences)


def _packed(program: Program, pack: Pack, net: Network) -> bytes:
    try:
        return pack(program, net.description.metadata())
    except Exception as error:  # whatever a tracer stumbles over
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{net.description.method} cannot be exported with a varying batch ({reason})") from None


def _programs(net: Network) -> Iterator[Program]:
    described = net.description
    encoder = nn.Sequential(net.method.encoder, nn.Flatten(1)).eval()
    yield Program("", encoder, (3, described.size_px, described.size_px), "images", ["embedding"])
    if net.heads:
        yield Program("-attributes", Attributes(net).eval(), (described.dims,), "embedding", net.attribute_names)


def _difference(program: Program, running: Running, batch: int) -> float:
    """How far the outputs for random input are from those of the module, in units of TOLERANCE's."""
    some = torch.rand(batch, *program.shape, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected, found = _listed(program.module(some)), running(some)
    pairs = zip(found, expected, strict=True)
    return float(torch.stack([(ours - own).abs().max() / own.abs().max().clamp_min(1) for ours, own in pairs]).max())


def _listed(outputs: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else outputs


def _pack_torch(program: Program, metadata: Mapping[str, str]) -> bytes:
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    buffer = io.BytesIO()
    exported = torch.export.export(program.module, (example(program),), dynamic_shapes=shapes)
    torch.export.save(exported, buffer, extra_files={f"{name}.json": text for name, text in metadata.items()})
    return buffer.getvalue()


def _start_torch(data: bytes) -> Running:
    program = torch.export.load(io.BytesIO(data)).module()
    return lambda some: _listed(program(some))


def _onnx() -> tuple[Pack, Start]:
    """How ONNX programs are written and run.

    Raises:
        UserError: the packages are not installed.
    """
    try:
        from pipelines.own import onnx  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"ONNX needs the package {error.name}, which is not installed: "
            "run `pip install -c constraints.txt -e '.[export]'`"
        ) from None
    return onnx.pack, onnx.start
