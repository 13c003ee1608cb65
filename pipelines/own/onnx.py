"""Programs as ONNX; the only module that needs the extra `export`."""

import importlib
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import onnx
import onnxruntime
import torch

from pipelines.own.programs import Program, Running, example

importlib.import_module("onnxscript")  # torch.onnx asks for it
# It misses torchvision, whose operators nobody here needs.
logging.getLogger("torch.onnx._internal.exporter._registration").addFilter(
    lambda record: not record.getMessage().startswith("torchvision is not installed")
)


def pack(program: Program, metadata: Mapping[str, str]) -> bytes:
    """The program as one ONNX model without files beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, about its tree specifications
        made: Any = torch.onnx.export(
            program.module,
            (example(program),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=[program.input],
            output_names=program.outputs,
            verbose=False,
        )
    proto = made.model_proto  # made anew each time that it is asked for
    onnx.helper.set_model_props(proto, dict(metadata))
    return proto.SerializeToString()


def start(data: bytes) -> Running:
    """The model on the CPU: its input -> its outputs."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda some: [torch.from_numpy(found) for found in session.run(None, {name: some.numpy()})]
