import io
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fabnet.pretext import vgg_face

# (inputs, outputs, torchvision's position), a pooling after each group
GROUPS = [
    [(3, 64, 0), (64, 64, 2)],
    [(64, 128, 5), (128, 128, 7)],
    [(128, 256, 10), (256, 256, 12), (256, 256, 14)],
    [(256, 512, 17), (512, 512, 19), (512, 512, 21)],
    [(512, 512, 24), (512, 512, 26), (512, 512, 28)],
]


def weights() -> dict[str, Tensor]:
    """A network for 32 px under the names of the MatConvNet port, with a classifier of 5 people."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for block, group in enumerate(GROUPS, start=1):
        for number, (inner, outer, _) in enumerate(group, start=1):
            scale = (2 / (9 * inner)) ** 0.5
            state[f"conv{block}_{number}.weight"] = torch.randn(outer, inner, 3, 3, generator=generator) * scale
            state[f"conv{block}_{number}.bias"] = torch.randn(outer, generator=generator) * 0.1
    for name, inner, outer in (("fc6", 512, 4096), ("fc7", 4096, 4096), ("fc8", 4096, 5)):
        state[f"{name}.weight"] = torch.randn(outer, inner, generator=generator) * (2 / inner) ** 0.5
        state[f"{name}.bias"] = torch.randn(outer, generator=generator) * 0.1
    return state


STATE = weights()
FRAMES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def reference(layer: str) -> Tensor:
    """The network written out, in the order of the paper's table."""
    x = FRAMES * 255 - torch.tensor([129.1863, 104.7624, 93.5940])[None, :, None, None]
    for block, group in enumerate(GROUPS, start=1):
        for number in range(1, len(group) + 1):
            name = f"conv{block}_{number}"
            x = F.relu(F.conv2d(x, STATE[f"{name}.weight"], STATE[f"{name}.bias"], padding=1))
        x = F.max_pool2d(x, 2)
    x = F.relu(x.flatten(1) @ STATE["fc6.weight"].T + STATE["fc6.bias"])
    return x if layer == "fc6" else F.relu(x @ STATE["fc7.weight"].T + STATE["fc7.bias"])


def torchvision_name(name: str) -> str:
    layer, kind = name.split(".")
    if layer.startswith("fc"):
        return f"classifier.{ {'fc6': 0, 'fc7': 3, 'fc8': 6}[layer] }.{kind}"
    block, number = int(layer[4]), int(layer[6])
    return f"features.{GROUPS[block - 1][number - 1][2]}.{kind}"


def as_convolutions(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.reshape(len(value), -1, 1, 1) if name.startswith("fc") and value.ndim == 2 else value
        for name, value in state.items()
    }


LAYOUTS = {
    "dag": STATE,
    "underscored": {name.replace("conv", "conv_"): value for name, value in STATE.items()},
    "torchvision": {torchvision_name(name): value for name, value in STATE.items()},
    "convolutions": as_convolutions(STATE),
    "without_classifier": {name: value for name, value in STATE.items() if not name.startswith("fc8")},
}


def packed(state: Any, kind: str = "zip") -> io.BytesIO:
    if kind == "safetensors":
        return io.BytesIO(save({name: value.contiguous() for name, value in state.items()}))
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=kind == "zip")
    buffer.seek(0)
    return buffer


def embeddings(file: io.BytesIO, layer: Any = "fc7", channels: Any = "rgb") -> Tensor:
    method = vgg_face.supplied(vgg_face.Params("", "", 32, layer, channels), file).eval()
    with torch.inference_mode():
        return method.encoder(FRAMES)


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
def test_the_descriptor_agrees_with_the_network_written_out(layer: str):
    torch.testing.assert_close(embeddings(packed(STATE), layer), reference(layer), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_embeddings(layout: str):
    assert torch.equal(embeddings(packed(LAYOUTS[layout])), embeddings(packed(STATE)))


@pytest.mark.parametrize("kind", ["old", "safetensors"])
def test_every_format_gives_the_same_embeddings(kind: str):
    assert torch.equal(embeddings(packed(STATE, kind), "fc6"), embeddings(packed(STATE), "fc6"))


def test_a_bgr_file_of_the_same_network_gives_the_same_embeddings():
    bgr = {**STATE, "conv1_1.weight": STATE["conv1_1.weight"].flip(1)}
    assert torch.equal(embeddings(packed(bgr), "fc6", "bgr"), embeddings(packed(STATE), "fc6"))


def test_images_have_the_same_embeddings_together_and_alone():
    method = vgg_face.supplied(vgg_face.Params("", "", 32, "fc6", "rgb"), packed(STATE)).eval()
    many = FRAMES.repeat(10, 1, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(method.encoder(many)[-2:], method.encoder(FRAMES), rtol=1e-4, atol=1e-3)


def test_at_224_px_the_layers_have_the_published_shapes():
    with torch.device("meta"):
        layers = dict(vgg_face.Descriptor(size_px=224, layer="fc7").layers.named_children())
    assert tuple(layers["fc6"].weight.shape) == (4096, 25088)
    assert tuple(layers["fc7"].weight.shape) == (4096, 4096)
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers.values()) == 13


@pytest.mark.parametrize(
    ("state", "clause"),
    [
        ({**STATE, "encoder.0.weight": torch.ones(1)}, "found a weight encoder.0.weight, which VGG-16 does not have"),
        ({**STATE, "fc6.weight": torch.ones(4096, 9)}, r"fc6.weight of shape \[4096, 512\], found \[4096, 9"),
        ({name: STATE[name] for name in list(STATE)[2:]}, r"expected a weight conv1_1.weight \[64, 3, 3, 3\]"),
        ([1], "expected weights by name, found list"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(state: Any, clause: str):
    with pytest.raises(ValueError, match=clause):
        embeddings(packed(state), "fc6")


def test_an_input_that_the_poolings_do_not_halve_is_refused():
    assert vgg_face.problem(vgg_face.Params("", "", 224, "fc7", "rgb")) is None
    assert (
        vgg_face.problem(vgg_face.Params("", "", 250, "fc7", "rgb")) == "size_px should be a multiple of 32, found 250"
    )
