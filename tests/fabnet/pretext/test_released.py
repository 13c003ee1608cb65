from typing import Any, BinaryIO

import pytest
import torch
from released_samples import PARAMS, networks, packed, published, training
from torch import Tensor, nn

from fabnet import boxes, probe_head
from fabnet.modules.model import FAbNet
from fabnet.pretext import released


def images() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_published_file_gives_back_embeddings_and_head_outputs(counters: bool, is_zip: bool):
    net, head = networks()
    method = released.supplied(PARAMS, packed(published(net, head, counters=counters), is_zip=is_zip)).eval()
    with torch.inference_mode():
        embeddings = method.encoder(images())
        assert torch.equal(embeddings, net.encoder(images()))
        assert torch.equal(method.head(embeddings.flatten(1)), head(embeddings.flatten(1)))
        assert torch.equal(method.net(images()[:, None], images()), net(images()[:, None], images()))


def test_the_crop_of_own_faces_is_that_of_the_published_face():
    """254 x 256 px, in which dlib finds the face at (35, 35)-(214, 214)."""
    cut = boxes.crop_box((35, 35, 214, 214), released.CROP.margin_frac)
    assert cut == pytest.approx((0, 0, 254, 256), abs=6)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_training_checkpoint_gives_back_embeddings_and_has_no_head(is_zip: bool):
    net, _ = networks()
    method = released.supplied(PARAMS, packed(training(net), is_zip=is_zip)).eval()
    with torch.inference_mode():
        assert torch.equal(method.encoder(images()), net.encoder(images()))
    assert len(method.head) == 0


def test_a_method_without_weights_takes_any_head_from_a_state():
    net, head = networks(outputs=136)
    full = released.supplied(PARAMS, packed(published(net, head))).eval()
    empty = released.build(PARAMS, size_px=32).eval()
    empty.load_state_dict(full.state_dict())
    embeddings = torch.rand(2, 6)
    with torch.inference_mode():
        assert torch.equal(empty.head(embeddings), head(embeddings))


def changed(part: str, **changes: Any) -> BinaryIO:
    content = published(*networks())
    content[part] = {name: value for name, value in {**content[part], **changes}.items() if value is not None}
    return packed(content)


@pytest.mark.parametrize(
    ("file", "clause"),
    [
        (packed([1, 2]), "expected a checkpoint with `state_dict`"),
        (packed({"weights": torch.ones(1)}), "expected a checkpoint with `state_dict`"),
        (packed({"state_dict": 3}), "expected weights by name, found int"),
        (packed({"state_dict": {"conv1_1.weight": torch.ones(1)}}), "found a weight conv1_1.weight, expected encod"),
        (packed({"state_dict": {"encoder": torch.ones(1)}}), "found a weight encoder, expected encoder.N"),
        (changed("state_dict_model", **{"encoder.0.bias": torch.ones(5)}), r"encoder.0.bias of shape \[4\], found \[5"),
        (changed("state_dict_model", **{"mask.2.weight": None}), r"expected a weight confidence.2.weight .* none"),
        (changed("state_dict", **{"1.weight": torch.ones(10, 7)}), r"1.weight of shape \[10, 6\], found \[10, 7\]"),
        (changed("state_dict", **{"1.weight": torch.tensor(1.0)}), "found a weight "),
        (changed("state_dict", **{"1.bias": torch.ones(10)}), "found a weight 1.bias"),
        (changed("state_dict", **{"0.weight": None}), "expected a weight 0.weight"),
    ],
)  # fmt: skip
def test_checkpoints_that_do_not_fit_are_refused(file: BinaryIO, clause: str):
    file.seek(0)
    with pytest.raises(ValueError, match=clause) as caught:
        released.supplied(PARAMS, file)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"encoder.0.weight of shape \[8, 3, 4, 4\], found \[4, 3, 4, 4\]"):
        released.supplied(released.Params("", "", 32, 8, 6), packed(published(*networks())))


@pytest.mark.slow
def test_a_network_of_the_original_size_is_read():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = FAbNet(size_px=256, width=32, embedding=256, with_confidence=True).eval()
    head = nn.Sequential(nn.BatchNorm1d(256), nn.Linear(256, 8, bias=False))
    file = packed(published(net, head, counters=False), is_zip=False)
    method = released.supplied(released.Params("", "", 256, 32, 256), file).eval()
    frames = torch.rand(2, 3, 256, 256)
    with torch.inference_mode():
        assert torch.equal(method.encoder(frames), net.encoder(frames))


@pytest.mark.parametrize(
    ("outputs", "task"),
    [(10, "mafl.landmarks"), (136, "w300.landmarks"), (8, "affectnet.expression"), (3, "aflw.pose"), (7, None)],
)
def test_the_outputs_of_a_head_say_which_task_it_serves(outputs: int, task: str | None):
    net, head = networks(outputs)
    own = released.supplied(PARAMS, packed(published(net, head))).own_head()
    assert (f"{own.dataset}.{own.task}" if own else None) == task
    if own:
        embeddings = torch.rand(4, 6)
        layers = probe_head.layers(own.state)
        torch.testing.assert_close(layers(embeddings.double()).float(), head(embeddings))


def test_a_training_checkpoint_has_no_head_of_its_own():
    assert released.supplied(PARAMS, packed(training(networks()[0]))).own_head() is None
