"""A model file as programs for other runtimes: ONNX, or what `torch.export` writes.

Two programs, both for any number B of pictures:

- `<out>`, the encoder: `pictures` (B, 3, S, S) float32 RGB in [0, 1] -> `embedding` (B, D) float32. Resizing to S is up
  to the caller: bilinear and anti-aliased, as `fabnet.crops.resize` does it.
- `<out>-attributes`, if probes have heads: `embedding` (B, D) float32 -> one float32 output for each attribute, in the
  order of their names. Classes and action units are probabilities (B, K); angles are radians (B, 3); points are x, y
  (B, 2 P) in [-1, 1] between the outer edges of the picture.

Both carry the description of the model file: in the metadata of ONNX, as `fabnet.json` in the other. The encoder that
`torch.export` writes can be evaluated as method `own` of kind `export`, with mean 0 and std 1.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import fabnet
from fabnet.network import Network
from stages.errors import UserError

Kind = Literal["onnx", "torch"]
Run = Callable[[bytes, Tensor], Sequence[Tensor]]

TOLERANCE = 1e-4  # of an output, in units of its largest value if that is above 1
BATCHES = (2, 5)  # that are tried


@dataclass(frozen=True)
class Program:
    """What becomes one file."""

    name: str  # after that of the file
    module: nn.Module
    shape: tuple[int, ...]  # of the input, without the number of pictures
    input: str
    outputs: list[str]


class Attributes(nn.Module):
    """Embeddings (B, D) float32 -> what each probe makes of them, float32; computed in float64 like the probes."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.heads = nn.ModuleList(reader.probe.head for reader in net.readers)
        self.links = [reader.probe.link for reader in net.readers]

    def forward(self, embedding: Tensor) -> list[Tensor]:
        x = embedding.double()
        return [link(head(x)).float() for head, link in zip(self.heads, self.links, strict=True)]


def export(model: Path, out: Path, kind: Kind) -> float:
    """Write the programs of a model file; returns the largest difference of an output from the network's own.

    Nothing is written unless all of them agree with the network on random input.

    Raises:
        UserError: no usable model file, a package that is missing, a network that cannot be exported or would differ.
    """
    try:
        net = fabnet.load(model, device="cpu")
    except ValueError as error:
        raise UserError(str(error)) from None
    pack, run = _onnx() if kind == "onnx" else (_pack_torch, _run_torch)
    differences: list[float] = []
    files: dict[Path, bytes] = {}
    for program in _programs(net):
        data = pack(program, net.description.metadata())
        differences += [_difference(program, data, run, batch) for batch in BATCHES]
        files[out.with_name(f"{out.stem}{program.name}{out.suffix}")] = data
    if max(differences) > TOLERANCE:
        raise UserError(
            f"{model}: the exported program differs from the network by {max(differences):.2g}, more than {TOLERANCE:g}: "
            "nothing was written"
        )
    for path, data in files.items():
        _write(path, data)
    return max(differences)


def _programs(net: Network) -> Iterator[Program]:
    described = net.description
    encoder = nn.Sequential(net.method.encoder, nn.Flatten(1)).eval()
    yield Program("", encoder, (3, described.size_px, described.size_px), "pictures", ["embedding"])
    if net.readers:
        yield Program("-attributes", Attributes(net).eval(), (described.dims,), "embedding", net.attribute_names)


def _difference(program: Program, data: bytes, run: Run, batch: int) -> float:
    """How far the outputs for random input are from those of the module, in units of TOLERANCE's."""
    some = torch.rand(batch, *program.shape, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected, found = _listed(program.module(some)), run(data, some)
    pairs = zip(found, expected, strict=True)
    return max(float((ours - own).abs().max() / own.abs().max().clamp_min(1)) for ours, own in pairs)


def _listed(outputs: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else outputs


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def _example(program: Program) -> Tensor:
    return torch.zeros(BATCHES[0], *program.shape)


def _pack_torch(program: Program, metadata: Mapping[str, str]) -> bytes:
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    buffer = io.BytesIO()
    exported = torch.export.export(program.module, (_example(program),), dynamic_shapes=shapes)
    torch.export.save(exported, buffer, extra_files={f"{name}.json": text for name, text in metadata.items()})
    return buffer.getvalue()


def _run_torch(data: bytes, some: Tensor) -> Sequence[Tensor]:
    return _listed(torch.export.load(io.BytesIO(data)).module()(some))


def _onnx() -> tuple[Callable[[Program, Mapping[str, str]], bytes], Run]:
    """How ONNX programs are written and run.

    Raises:
        UserError: the packages are not installed.
    """
    try:
        import onnx  # noqa: PLC0415
        import onnxruntime  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415  asked for by torch.onnx
    except ImportError as error:
        raise UserError(
            f"ONNX needs the package {error.name}, which is not installed: "
            "run `pip install -c constraints.txt -e '.[export]'`"
        ) from None

    def pack(program: Program, metadata: Mapping[str, str]) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, about its tree specifications
            made: Any = torch.onnx.export(
                program.module,
                (_example(program),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=[program.input],
                output_names=program.outputs,
                verbose=False,
            )
        onnx.helper.set_model_props(made.model_proto, dict(metadata))
        return made.model_proto.SerializeToString()

    def run(data: bytes, some: Tensor) -> Sequence[Tensor]:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(found) for found in session.run(None, {session.get_inputs()[0].name: some.numpy()})]

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, whose operators nobody here needs
    return pack, run
