"""Our methods do what the authors' code does in a step: outputs of `original.py`, stored by it, are reproduced."""

import json
from typing import Any

import original
import pytest
import torch
from torch import Tensor

from fabnet.modules.method import Method
from fabnet.modules.model import from_released
from fabnet.training import train
from stages.runtime import plugins

STORED: dict[str, Any] = json.loads(original.STORED.read_text())
SIZES = {"width": original.WIDTH, "embedding": original.EMBEDDING}
SETTINGS = train.Settings("sgd", original.LR, original.MOMENTUM, 0.0, 1, plateau_factor=0.1, plateau_patience=10)
RELATIVE, ABSOLUTE = 1e-6, 1e-13  # losses are recorded in float32; all else agrees to the digits that are stored


def built(name: str) -> Any:
    """The method with the weights of `original`, in double precision."""
    more = {
        "fabnet": {},
        "fabnet_curriculum": {"patience": 15, "batch": original.CASES[name].batch},
        "fabnet_sources": {"sources": original.CASES[name].sources},
    }
    module = plugins.load("fabnet.pretext", name)
    method: Any = module.build(module.Params(**SIZES, **more[name]), size_px=original.SIZE_PX)
    ours = from_released(original.weights())
    method.double().net.load_state_dict({key: ours[key] for key in method.net.state_dict()})
    return method


def released(method: Any) -> dict[str, Tensor]:
    """A copy of its state under the released names."""
    names = {"encoder": "encoder", "sampler": "decoder", "confidence": "mask"}
    parts = {key: key.split(".", 1) for key in method.net.state_dict()}
    return {f"{names[part]}.{rest}": method.net.state_dict()[key].clone() for key, (part, rest) in parts.items()}


def embeddings(method: Method, images: Tensor) -> list[float]:
    with torch.inference_mode():
        return original.summary(method.encoder.eval()(images[:, 0]))


@pytest.mark.parametrize("name", original.CASES)
def test_a_step_is_that_of_the_authors_code(name: str):
    case, method = original.CASES[name], built(name)
    expected = STORED[name] | STORED[name]["changes"]
    if name == "fabnet_curriculum":
        method.curriculum.window.fill_(round(10 * case.low))
    images = original.frames(case)
    before, embedded = released(method), embeddings(method, images)
    trainer = train.Trainer(method, SETTINGS, device=torch.device("cpu"))
    (epoch,) = trainer.epochs(lambda *_: [images], lambda: [images], lambda: None)
    found = {
        "embeddings": embedded,
        "loss": epoch.train["loss"],
        "embeddings after": embeddings(method, images),
        "validation loss after": epoch.val["loss"],
        **{key: original.summary(value - before[key]) for key, value in released(method).items()},
    }
    for key, value in found.items():
        assert value == pytest.approx(expected[key], rel=RELATIVE, abs=ABSOLUTE), key
    left_out = {key.split(".")[0] for key in expected.keys() - found.keys()} - {"changes"}
    assert left_out == ({"mask"} if case.sources == 1 else set())  # which gets no gradient from one source


@pytest.mark.slow
def test_the_stored_outputs_are_those_of_the_program():
    name = "fabnet_sources"
    again = original.trained(original.CASES[name])
    assert again["loss"] == pytest.approx(STORED[name]["loss"], rel=RELATIVE)
    for key, value in again["changes"].items():
        assert value == pytest.approx(STORED[name]["changes"][key], rel=RELATIVE, abs=ABSOLUTE), key
