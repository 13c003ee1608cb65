import pytest
import torch
from torch import Tensor

from fabnet.pretext import fabnet_curriculum
from fabnet.pretext.fabnet_curriculum import WINDOWS, Curriculum, keep_quantiles


def kept_slowly(per_sample: Tensor, low: float, high: float) -> list[float]:
    """Sort by hand, then count places."""
    ascending: list[float] = []
    for value in per_sample.tolist():
        place = sum(other < value for other in ascending)
        ascending.insert(place, value)
    return [
        value
        for place, value in enumerate(ascending)
        if int(low * len(ascending)) <= place < int(high * len(ascending))
    ]


def test_the_middle_of_a_known_batch_is_kept():
    assert keep_quantiles(torch.tensor([5.0, 1.0, 3.0, 9.0]), 0.25, 0.75).tolist() == [3.0, 5.0]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("count", [3, 8, 31, 32])
def test_kept_samples_agree_with_a_slow_reference(window: tuple[float, float], count: int):
    losses = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    assert keep_quantiles(losses, *window).tolist() == kept_slowly(losses, *window)


def test_a_batch_of_32_trains_on_16_samples_in_every_window():
    losses = torch.arange(32.0)
    kept = [keep_quantiles(losses, *window) for window in WINDOWS]
    assert [(int(some[0]), int(some[-1])) for some in kept] == [(0, 15), (3, 18), (6, 21), (9, 24), (12, 27)]


def test_order_in_the_batch_does_not_matter():
    losses = torch.rand(32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(keep_quantiles(losses, 0.1, 0.6), keep_quantiles(losses.flip(0), 0.1, 0.6))


def test_only_kept_samples_get_a_gradient():
    losses = torch.tensor([4.0, 1.0, 3.0, 2.0], requires_grad=True)
    keep_quantiles(losses, 0, 0.5).mean().backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == [0, 0.5, 0, 0.5]


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match=r"no sample of a batch of 1 lies between the shares 0\.0 and 0\.5"):
        keep_quantiles(torch.ones(1), *WINDOWS[0])


def test_validation_is_over_all_samples():
    curriculum = Curriculum(patience=1).eval()
    assert len(curriculum(torch.rand(32))) == 32
    assert len(curriculum.train()(torch.rand(32))) == 16


def test_the_window_moves_when_the_loss_has_not_improved_for_longer_than_its_patience():
    curriculum = Curriculum(patience=2)
    for loss, window in [(1.0, 0), (0.9, 0), (0.9, 0), (1.0, 0), (0.95, 1), (2.0, 1), (3.0, 1), (1.9, 1)]:
        assert curriculum.observe(loss)
        assert int(curriculum.window) == window, loss


def test_the_learning_rate_is_held_until_the_last_window():
    curriculum = Curriculum(patience=0)
    waits = [curriculum.observe(1.0) for _ in range(12)]
    assert int(curriculum.window) == len(WINDOWS) - 1
    assert waits == [True] * 8 + [False] * 4


def test_the_state_is_saved_with_the_weights():
    one, other = Curriculum(patience=1), Curriculum(patience=1)
    for loss in (1.0, 1.0, 1.0, 0.5):
        one.observe(loss)
    other.load_state_dict(one.state_dict())
    assert [other.observe(0.7) for _ in range(3)] == [one.observe(0.7) for _ in range(3)]
    assert int(one.window) == int(other.window) > 0


@pytest.mark.parametrize(("batch", "is_fine"), [(1, False), (2, True), (3, True), (8, True), (32, True)])
def test_a_batch_size_with_an_empty_window_is_a_problem(batch: int, is_fine: bool):
    problem = fabnet_curriculum.problem(fabnet_curriculum.Params(width=4, embedding=6, patience=1, batch=batch))
    assert (problem is None) == is_fine
