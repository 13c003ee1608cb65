import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from fabnet.modules.losses import photometric
from fabnet.modules.model import FAbNet, from_released
from fabnet.modules.view_norm import ViewNorm2d
from fabnet.modules.warp import warp

# Layout of the released network: position -> channels out, channels in (a convolution) or channels (its BN).
ENCODER = {0: (32, 3), 2: (64, 32), 5: (128, 64), 8: (256, 128), 11: (256, 256), 14: (256, 256), 17: (256, 256),
           20: (256, 256)}  # fmt: skip
ENCODER_BN = {3: 64, 6: 128, 9: 256, 12: 256, 15: 256, 18: 256}
DECODER = {2: (256, 512), 6: (256, 256), 10: (256, 256), 14: (256, 256), 18: (128, 256), 22: (64, 128), 26: (32, 64)}
DECODER_BN = {3: 256, 7: 256, 11: 256, 15: 256, 19: 128, 23: 64, 27: 32}


def released_shapes(*, counters: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part, kernel, convolutions, norms in (
        ("encoder", 4, ENCODER, ENCODER_BN),
        ("decoder", 3, {**DECODER, 30: (2, 32)}, DECODER_BN),
        ("mask", 3, {**DECODER, 30: (1, 32)}, DECODER_BN),
    ):
        for at, (outer, inner) in convolutions.items():
            shapes[f"{part}.{at}.weight"] = (outer, inner, kernel, kernel)
            shapes[f"{part}.{at}.bias"] = (outer,)
        for at, channels in norms.items():
            shapes |= {f"{part}.{at}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}
            shapes |= {f"{part}.{at}.num_batches_tracked": ()} if counters else {}
    return shapes


def released(*, counters: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.rand(shape, generator=generator) if shape else torch.tensor(7)
        for key, shape in released_shapes(counters=counters).items()
    }


def network(*, with_confidence: bool = True, size_px: int = 32) -> FAbNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FAbNet(size_px=size_px, width=4, embedding=6, with_confidence=with_confidence)


def frames(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def weights(module: nn.Module | None) -> int:
    assert module is not None
    return sum(weight.numel() for weight in module.parameters())


def original_size(*, with_confidence: bool = True) -> FAbNet:
    with torch.device("meta"):
        return FAbNet(size_px=256, width=32, embedding=256, with_confidence=with_confidence)


def test_parameters_are_as_many_as_in_the_original():
    net = original_size()
    assert weights(net.encoder) == 4_887_904
    assert weights(net.sampler) == 3_340_514
    assert weights(net.confidence) == 3_340_225
    assert weights(original_size(with_confidence=False)) == 8_228_418


@pytest.mark.parametrize(("counters", "entries"), [(True, 148), (False, 128)])
def test_released_keys_map_one_to_one_onto_ours(counters: bool, entries: int):
    theirs = released(counters=counters)
    assert len(theirs) == entries
    ours = from_released(theirs)
    assert {key: tuple(value.shape) for key, value in ours.items()} == {
        key: tuple(value.shape) for key, value in original_size().state_dict().items()
    }
    assert torch.equal(ours["sampler.30.weight"], theirs["decoder.30.weight"])
    assert torch.equal(ours["confidence.30.weight"], theirs["mask.30.weight"])


def test_missing_counters_start_at_zero_and_others_stay():
    without, with_counters = from_released(released(counters=False)), from_released(released(counters=True))
    counters = [key for key in without if key.endswith("num_batches_tracked")]
    assert len(counters) == 20
    assert all(without[key] == 0 and with_counters[key] == 7 for key in counters)
    assert all(without[key].dtype == torch.long for key in counters)


@pytest.mark.slow
def test_a_released_dictionary_loads_strictly():
    FAbNet(size_px=256, width=32, embedding=256, with_confidence=True).load_state_dict(
        from_released(released(counters=False))
    )


def test_with_one_source_the_weight_does_not_matter():
    net = network().eval()
    sources, target = frames(2, 1), frames(2, seed=1)
    before = net(sources, target)
    assert net.confidence is not None
    for weight in net.confidence.parameters():
        nn.init.constant_(weight, 3.0)
    assert torch.equal(net(sources, target), before)
    assert torch.equal(network(with_confidence=False).eval()(sources, target), before)


def test_several_sources_agree_with_a_slow_mix():
    net = network().double().eval()
    sources, target = frames(2, 3).double(), frames(2, seed=1).double()
    rebuilt = net(sources, target)
    for sample in range(2):
        e_tgt = net.encode(target[None, sample : sample + 1])  # (1, 1, D)
        weight, total = torch.zeros(1, 1, 32, 32).double(), torch.zeros(1, 3, 32, 32).double()
        for source in sources[sample]:
            e_src = net.encode(source[None, None])
            confidence = net.weigh(e_src, e_tgt[0])[0].exp()
            total = total + confidence * warp(source[None], net.sample(e_src, e_tgt[0])[0])
            weight = weight + confidence
        assert torch.allclose(rebuilt[sample], (total / weight)[0], atol=1e-6, rtol=0)


def test_decoders_see_the_source_embedding_first():
    net = network().eval()
    source, target = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(2))
    together = torch.cat([source, target], dim=1)[..., None, None]
    assert torch.equal(net.sample(source[None], target)[0], net.sampler(together))
    assert net.confidence is not None
    assert torch.equal(net.weigh(source[None], target)[0], net.confidence(together))


def called_view_by_view(net: FAbNet, sources: Tensor, target: Tensor) -> Tensor:
    """The mix of the original: every module is called once for the target or once for each source, with plain BN."""
    e_tgt = net.encoder(target).flatten(1)
    warped: list[Tensor] = []
    scores: list[Tensor] = []
    for source in sources.unbind(1):
        pair = torch.cat([net.encoder(source).flatten(1), e_tgt], dim=1)[..., None, None]
        warped.append(warp(source.detach(), net.sampler(pair)))
        scores.append(net.confidence(pair) if net.confidence is not None else torch.zeros(len(target), 1, 1, 1))
    return (torch.stack(warped) * torch.stack(scores).softmax(0)).sum(0)


def with_plain_norms(net: FAbNet) -> FAbNet:
    """A copy of the network with PyTorch's BN."""
    net = copy.deepcopy(net)
    for layers in net.children():
        for at, layer in enumerate(layers):
            if isinstance(layer, ViewNorm2d):
                layers[at] = nn.BatchNorm2d(layer.num_features).double()
                layers[at].load_state_dict(layer.state_dict())
    return net


@pytest.mark.parametrize("count", [1, 3])
def test_training_steps_equal_those_of_calling_view_by_view(count: int):
    net = network(with_confidence=count > 1).double()
    theirs = with_plain_norms(net)
    sources = (frames(4, count) * torch.linspace(0.3, 1, count)[:, None, None, None]).double()  # unlike statistics
    target = frames(4, seed=1).double() / 2
    for _ in range(3):
        for one, mix in ((net, net), (theirs, partial(called_view_by_view, theirs))):
            optimiser = torch.optim.SGD(one.parameters(), 0.1)
            optimiser.zero_grad()
            photometric(mix(sources, target), target).mean().backward()
            optimiser.step()
        for name, weight in net.named_parameters():
            torch.testing.assert_close(weight.grad, theirs.get_parameter(name).grad, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(net.state_dict(), theirs.state_dict(), rtol=1e-8, atol=1e-12)
    assert net.encoder[3].num_batches_tracked == 3 * (1 + count)
    assert net.sampler[3].num_batches_tracked == 3 * count


def test_the_order_of_sources_does_not_matter():
    net = network().eval()
    sources, target = frames(2, 3), frames(2, seed=1)
    assert torch.allclose(net(sources.flip(1), target), net(sources, target), atol=1e-6)


def test_embeddings_get_a_gradient_and_the_source_image_does_not():
    net = network()
    sources, target = frames(2, 2).requires_grad_(), frames(2, seed=1)
    seen: list[Tensor] = []
    encode = net.encode

    def remembered(images: Tensor) -> Tensor:
        seen.append(encode(images.detach()))  # only the way through the pixels that are sampled is left
        seen[-1].retain_grad()
        return seen[-1]

    net.encode = remembered
    net(sources, target).abs().sum().backward()
    assert seen[0].grad is not None
    assert seen[0].grad.isfinite().all()
    assert (seen[0].grad != 0).any(dim=2).all()  # source and target embeddings
    assert sources.grad is None


def test_several_sources_without_a_confidence_decoder_are_refused():
    with pytest.raises(ValueError, match="built for one source frame"):
        network(with_confidence=False)(frames(1, 2), frames(1))


@pytest.mark.parametrize("count", [1, 3])
def test_the_result_of_a_mix_follows_from_its_parts(count: int):
    net = network().eval()
    sources, target = frames(2, count), frames(2, seed=1)
    with torch.no_grad():
        mix, result = net.mix(sources, target), net(sources, target)
    assert mix.flow.shape == (2, count, 2, 32, 32)
    assert mix.weight.shape == (2, count, 1, 32, 32)
    assert torch.allclose(mix.weight.sum(1), torch.ones(2, 1, 32, 32))
    for source in range(count):
        assert torch.equal(mix.warped[:, source], warp(sources[:, source], mix.flow[:, source]))
    by_hand = sum(mix.weight[:, source] * mix.warped[:, source] for source in range(count))
    assert torch.allclose(result, by_hand)
