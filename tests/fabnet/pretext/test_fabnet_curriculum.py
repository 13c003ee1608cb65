import pytest
import torch
from torch import Tensor

from fabnet.modules.losses import photometric
from fabnet.pretext import fabnet_curriculum
from fabnet.pretext.fabnet_curriculum import WINDOWS, Curriculum, borders, mean_of_window


def shares() -> list[tuple[float, float]]:
    """Where the code cuts a batch: both ends move by 0.1 while the upper one is below 0.85."""
    low, high = 0.0, 0.5
    found = [(low, high)]
    while high < 0.85:
        low += 0.1
        high += 0.1
        found.append((low, high))
    return found


SHARES = shares()


def kept_slowly(per_sample: list[float], low: float, high: float) -> list[float]:
    """Sort by hand, then cut."""
    ascending: list[float] = []
    for value in per_sample:
        ascending.insert(sum(other < value for other in ascending), value)
    return ascending[int(low * len(ascending)) : int(high * len(ascending))]


def trained_on(losses: Tensor, window: int) -> list[float]:
    """The losses whose samples get a gradient, in the order of the batch."""
    losses = losses.detach().requires_grad_()
    mean_of_window(losses, torch.tensor(window)).backward()
    assert losses.grad is not None
    return losses[losses.grad != 0].tolist()


def test_the_borders_are_those_of_the_code_at_every_batch_size():
    assert len(SHARES) == WINDOWS
    for count in range(2, 3000):
        cut = [(int(low * count), int(high * count)) for low, high in SHARES]
        assert [borders(window, count) for window in range(WINDOWS)] == cut
        assert all(first < end for first, end in cut)


def test_some_borders_differ_from_those_of_whole_tenths():
    differ = [
        n for n in range(1, 256) if any(borders(w, n) != (w * n // 10, (w + 5) * n // 10) for w in range(WINDOWS))
    ]
    assert len(differ) == 41
    assert not {8, 32, 64, 128} & set(differ)


@pytest.mark.parametrize("window", range(WINDOWS))
@pytest.mark.parametrize("count", [2, 3, 8, 10, 31, 32, 200])
def test_the_mean_agrees_with_a_slow_reference(window: int, count: int):
    losses = torch.rand(count, generator=torch.Generator().manual_seed(count))
    kept = kept_slowly(losses.tolist(), *SHARES[window])
    assert float(mean_of_window(losses, torch.tensor(window))) == pytest.approx(sum(kept) / len(kept), rel=1e-6)
    assert sorted(trained_on(losses, window)) == kept


def test_a_batch_of_32_trains_on_16_samples_in_every_window():
    kept = [trained_on(torch.arange(32.0), window) for window in range(WINDOWS)]
    assert [(some[0], some[-1]) for some in kept] == [(0, 15), (3, 18), (6, 21), (9, 24), (12, 27)]
    assert {len(some) for some in kept} == {16}


def test_order_in_the_batch_does_not_matter():
    losses, window = torch.rand(32, generator=torch.Generator().manual_seed(0)), torch.tensor(1)
    assert torch.equal(mean_of_window(losses, window), mean_of_window(losses.flip(0), window))


def test_every_kept_sample_has_the_same_share_of_the_gradient():
    losses = torch.tensor([4.0, 1.0, 3.0, 2.0], requires_grad=True)
    mean_of_window(losses, torch.tensor(0)).backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == [0, 0.5, 0, 0.5]


def test_a_loss_outside_the_window_may_be_infinite():
    losses = torch.tensor([4.0, 1.0, torch.inf, torch.nan], requires_grad=True)
    mean = mean_of_window(losses, torch.tensor(0))
    mean.backward()
    assert mean == 2.5
    assert losses.grad is not None
    assert losses.grad.tolist() == [0.5, 0.5, 0, 0]


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match="the curriculum needs a batch of at least 2 samples, found 1"):
        mean_of_window(torch.ones(1), torch.tensor(0))


def test_validation_is_over_all_samples():
    curriculum = Curriculum(patience=1)
    losses = torch.arange(4.0)
    assert curriculum.eval()(losses) == 1.5
    assert curriculum.train()(losses) == 0.5


def test_the_window_moves_when_the_loss_has_not_improved_for_longer_than_its_patience():
    curriculum = Curriculum(patience=2)
    for loss, window in [(1.0, 0), (0.9, 0), (0.9, 0), (1.0, 0), (0.95, 1), (2.0, 1), (3.0, 1), (1.9, 1)]:
        assert curriculum.observe(loss)
        assert int(curriculum.window) == window, loss


def test_the_learning_rate_is_held_until_the_last_window():
    curriculum = Curriculum(patience=0)
    waits = [curriculum.observe(1.0) for _ in range(12)]
    assert int(curriculum.window) == WINDOWS - 1
    assert waits == [True] * 8 + [False] * 4


def test_the_state_is_saved_with_the_weights():
    one, other = Curriculum(patience=1), Curriculum(patience=1)
    for loss in (1.0, 1.0, 1.0, 0.5):
        one.observe(loss)
    other.load_state_dict(one.state_dict())
    assert [other.observe(0.7) for _ in range(3)] == [one.observe(0.7) for _ in range(3)]
    assert int(one.window) == int(other.window) > 0


def test_pairs_are_trained_on_inside_the_window_without_a_confidence_decoder():
    torch.manual_seed(0)
    method = fabnet_curriculum.build(fabnet_curriculum.Params(width=2, embedding=4, patience=0, batch=8), size_px=32)
    frames = torch.rand(8, 2, 3, 32, 32)
    assert method.frames == 2
    assert isinstance(method, fabnet_curriculum.EasyToHard)
    assert method.net.confidence is None
    method.eval()
    per_sample = photometric(method.net(frames[:, 1:], frames[:, 0]), frames[:, 0])
    losses = method.losses(frames)
    assert torch.equal(losses["loss"], per_sample.mean())
    assert torch.equal(losses["copy"], photometric(frames[:, 1], frames[:, 0]).mean())
    method.curriculum.train()
    assert torch.equal(method.losses(frames)["loss"], mean_of_window(per_sample, torch.tensor(0)))
    assert [method.observe(1.0) for _ in range(10)][-3:] == [True, False, False]


@pytest.mark.parametrize(("batch", "is_fine"), [(1, False), (2, True), (3, True), (8, True), (32, True)])
def test_a_batch_size_with_an_empty_window_is_a_problem(batch: int, is_fine: bool):
    problem = fabnet_curriculum.problem(fabnet_curriculum.Params(width=4, embedding=6, patience=1, batch=batch))
    assert (problem is None) == is_fine
