import copy
import io
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fabnet.modules.method import Method
from fabnet.pretext import fabnet
from fabnet.training import train

CPU = torch.device("cpu")
SETTINGS = train.Settings(
    optimiser="adam", lr=2e-3, momentum=0.9, weight_decay=0.0, epochs=4, plateau_factor=0.1, plateau_patience=2,
)  # fmt: skip


class Scalar(Method):
    """One weight; the loss is whatever `of` makes of it and the frames."""

    frames = 1

    def __init__(self, of: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.weight = nn.Parameter(torch.ones(()))
        self.of = of

    def losses(self, frames: Tensor) -> dict[str, Tensor]:
        return {"loss": self.of(self.weight, frames)}


class ByIdentity(Scalar):
    wants_identities = True

    def losses(self, frames: Tensor, identities: Tensor) -> dict[str, Tensor]:
        return {"loss": self.of(self.weight, frames[identities == 7])}


def method(seed: int = 0) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fabnet.build(fabnet.Params(width=4, embedding=8), size_px=32)


def shifted(seed: int, count: int = 3) -> list[Tensor]:
    """Batches of a smooth image and the same image moved by a few pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 4, 3, 5, 5, generator=generator)
    images = nn.functional.interpolate(coarse.flatten(0, 1), (40, 40), mode="bilinear").unflatten(0, (count, 4))
    pairs = torch.stack([images[..., :32, :32], images[..., 4:36, 2:34]], dim=2)
    return list(pairs)


def trainer(settings: train.Settings = SETTINGS, net: Method | None = None) -> train.Trainer:
    return train.Trainer(net or method(), settings, device=CPU)


def fresh(number: int, start: int) -> list[Tensor]:
    """Other batches in every epoch."""
    return shifted(number)[start:]


def epochs(one: train.Trainer, count: int | None = None) -> list[train.Epoch]:
    return list(islice(one.epochs(fresh, lambda: shifted(0), lambda: None), count))


def assert_equal(one: train.Trainer, other: train.Trainer) -> None:
    """All their weights and running statistics are the same."""
    for key, value in one.method.state_dict().items():
        assert torch.equal(other.method.state_dict()[key], value), key


def test_the_curve_of_a_fixed_seed_falls():
    one = trainer(replace(SETTINGS, epochs=12))
    losses = [epoch.train["loss"] for epoch in one.epochs(lambda *_: shifted(1), lambda: shifted(1), lambda: None)]
    assert losses[-1] < 0.7 * losses[0]
    again = trainer(replace(SETTINGS, epochs=12))
    assert losses == [e.train["loss"] for e in again.epochs(lambda *_: shifted(1), lambda: shifted(1), lambda: None)]


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_saving_and_resuming_equals_an_uninterrupted_run(optimiser):
    settings = replace(SETTINGS, optimiser=optimiser, plateau_patience=1)
    whole, first, second = trainer(settings), trainer(settings), trainer(settings, method(seed=9))
    history = epochs(whole)
    start = epochs(first, 2)
    file = io.BytesIO()
    torch.save(first.state(), file)
    second.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert start + epochs(second) == history
    assert (second.epoch, second.steps) == (4, 12)
    assert_equal(whole, second)


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_the_rate_falls_to_its_floor_and_no_lower(schedule: str):
    one = trainer(
        replace(SETTINGS, lr=0.1, epochs=9, schedule=schedule, lr_floor=0.02, plateau_factor=0.5, plateau_patience=0)
    )
    one.validate = lambda batches: {"loss": 1.0}
    rates = [epoch.lr for epoch in epochs(one)]
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert one.optimiser.param_groups[0]["lr"] == pytest.approx(0.02)
    if schedule == "cosine":
        assert rates[3] == pytest.approx(0.02 + 0.08 * 0.75)  # a third of the way: cos 60 degrees is 0.5


def test_a_held_rate_falls_in_the_last_epochs_only():
    one = trainer(replace(SETTINGS, lr=0.1, epochs=8, schedule="cosine", lr_hold=0.75))
    rates = [epoch.lr for epoch in epochs(one)]
    assert rates == pytest.approx([0.1] * 7 + [0.05])  # half-way through two epochs
    assert one.optimiser.param_groups[0]["lr"] == pytest.approx(0)


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_the_schedule_resumes_with_the_weights(schedule: str):
    settings = replace(SETTINGS, schedule=schedule, plateau_patience=0)
    whole, first, second = trainer(settings), trainer(settings), trainer(settings)
    history = epochs(whole)
    epochs(first, 2)
    second.restore(first.state())
    assert epochs(second) == history[2:]


def test_the_originals_schedule_resumes_between_two_of_its_looks():
    whole, first, second = (stuck(schedule="original", plateau_patience=0, epochs=40) for _ in range(3))
    expected = rates(whole)
    assert expected == [0.5] * 33 + [pytest.approx(0.05)] * 7
    rates(first, 25)
    second.restore(copy.deepcopy(first.state()))
    assert rates(second) == expected[25:]


class Stop(Exception):  # noqa: N818  not an error
    pass


def test_a_state_needs_no_other_process_after_the_steps_at_which_losses_are_read():
    one = train.Trainer(method(), replace(SETTINGS, epochs=1), device=CPU, read_steps=2)
    seen: list[bool] = []
    list(one.epochs(lambda *_: shifted(0), lambda: shifted(0), lambda: seen.append(one.is_read)))
    assert seen == [False, True, False]


@pytest.mark.parametrize("read_steps", [1, 2, 100])
@pytest.mark.parametrize("last", [4, 6])
def test_stopping_within_an_epoch_and_resuming_equals_an_uninterrupted_run(last: int, read_steps: int):
    whole, second = trainer(), trainer(net=method(seed=9))
    first = train.Trainer(method(), SETTINGS, device=CPU, read_steps=read_steps)
    file, asked = io.BytesIO(), []

    def stop() -> None:
        if first.steps == last:
            torch.save(first.state(), file)
            raise Stop

    stream = first.epochs(fresh, lambda: shifted(0), stop)
    start = [next(stream)]
    with pytest.raises(Stop):
        next(stream)
    second.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    rest = list(
        second.epochs(
            lambda number, done: asked.append((number, done)) or fresh(number, done), lambda: shifted(0), lambda: None
        )
    )
    assert asked == [(2, last - 3), (3, 0), (4, 0)]
    assert start + rest == epochs(whole)
    assert_equal(whole, second)


def test_a_finished_run_does_no_further_epoch():
    one = trainer()
    epochs(one)
    before = copy.deepcopy(one.state())
    assert epochs(one) == []
    assert all(torch.equal(before["method"][key], value) for key, value in one.method.state_dict().items())


def test_epochs_and_steps_are_counted_and_every_step_is_reported():
    one, told = trainer(), []
    rows = list(one.epochs(fresh, lambda: shifted(0), lambda: told.append(one.steps)))
    assert [(row.number, row.steps) for row in rows] == [(1, 3), (2, 6), (3, 9), (4, 12)]
    assert told == list(range(1, 13))


def test_an_epochs_losses_are_means_over_its_steps():
    one = trainer(replace(SETTINGS, lr=0.0), Scalar(lambda weight, frames: weight * frames.mean()))
    batches = [torch.full((1,), value) for value in (1.0, 2.0, 6.0)]
    first = next(one.epochs(lambda *_: batches, lambda: batches[:2], lambda: None))
    assert (first.train, first.val) == ({"loss": 3.0}, {"loss": 1.5})


def test_every_epoch_gets_its_number():
    asked: list[tuple[int, int]] = []
    list(trainer().epochs(lambda *epoch: asked.append(epoch) or shifted(0), lambda: shifted(0), lambda: None))
    assert asked == [(1, 0), (2, 0), (3, 0), (4, 0)]


def stuck(**changes: Any) -> train.Trainer:
    settings = replace(SETTINGS, **{"epochs": 8, "lr": 0.5, **changes})
    return trainer(settings, Scalar(lambda weight, frames: weight * 0 + frames.mean()))


def rates(one: train.Trainer, count: int | None = None) -> list[float]:
    stream = one.epochs(lambda *_: [torch.ones(1)], lambda: [torch.ones(1)], lambda: None)
    return [epoch.lr for epoch in islice(stream, count)]


def test_a_plateau_divides_the_learning_rate():
    # the first epoch sets the mark, three more without progress exceed a patience of two
    assert rates(stuck()) == pytest.approx([0.5] * 4 + [0.05] * 3 + [0.005])


def test_the_count_of_a_plateau_survives_a_restart():
    first, second = stuck(), stuck()
    start = rates(first, 3)
    second.restore(first.state())
    assert start + rates(second) == rates(stuck())


def test_validation_changes_neither_weights_nor_running_statistics():
    one = trainer()
    before = copy.deepcopy(one.method.state_dict())
    first, again = one.validate(shifted(0)), one.validate(shifted(0))
    assert first == again
    assert all(torch.equal(before[key], value) for key, value in one.method.state_dict().items())


@pytest.mark.parametrize("read_steps", [2, 3, 100])
def test_how_often_losses_are_read_changes_nothing(read_steps: int):
    one, rare = trainer(), train.Trainer(method(), SETTINGS, device=CPU, read_steps=read_steps)
    assert epochs(rare) == epochs(one)
    assert_equal(one, rare)


def test_a_loss_that_is_not_finite_is_found_within_the_epoch_where_losses_are_read_rarely():
    net = Scalar(lambda weight, frames: weight * frames.mean())
    one = train.Trainer(net, SETTINGS, device=CPU, read_steps=100)
    batches = [torch.ones(1), torch.ones(1), torch.full((1,), float("nan")), torch.ones(1)]
    with pytest.raises(train.DivergedError, match="the loss became nan in step 3"):
        next(one.epochs(lambda *_: batches, lambda: [torch.ones(1)], lambda: None))
    assert one.epoch == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(value: float):
    one = trainer(net=Scalar(lambda weight, frames: weight * frames.mean()))
    with pytest.raises(train.DivergedError, match=f"the loss became {value} in step 2"):
        list(one.epochs(lambda *_: [torch.ones(1), torch.full((1,), value)], lambda: [torch.ones(1)], lambda: None))
    assert one.method.state_dict()["weight"].isfinite()


def test_a_last_step_that_makes_the_weights_infinite_is_noticed():
    one = trainer(replace(SETTINGS, epochs=1), Scalar(lambda weight, _: (weight - 1).sqrt()))  # its slope is infinite
    with pytest.raises(train.DivergedError, match="after step 1"):
        list(one.epochs(lambda *_: [torch.ones(1)], lambda: [torch.ones(1)], lambda: None))


@pytest.mark.parametrize("read_steps", [1, 100])
def test_a_state_that_is_not_finite_is_not_given_away(read_steps: int):
    def of(weight: Tensor, frames: Tensor) -> Tensor:
        return (weight - frames).sqrt().sum()  # at 1 the slope is infinite, the loss is not

    one = train.Trainer(Scalar(of), SETTINGS, device=CPU, read_steps=read_steps)
    good: list[Any] = []
    with pytest.raises(train.DivergedError, match="the norm of the weights became nan after step 2"):
        list(
            one.epochs(
                lambda *_: [torch.zeros(1), one.method.weight.detach()],
                lambda: [torch.zeros(1)],
                lambda: good.append(copy.deepcopy(one.state())),
            )
        )
    assert [state["steps"] for state in good] == [1]
    assert good[0]["method"]["weight"].isfinite()


@pytest.mark.parametrize(("training", "validation"), [([], [torch.ones(1)]), ([torch.ones(1)], [])])
def test_an_epoch_without_a_batch_is_refused(training: list[Tensor], validation: list[Tensor]):
    one = trainer(net=Scalar(lambda weight, frames: weight * frames.mean()))
    with pytest.raises(ValueError, match="no batch"):
        list(one.epochs(lambda *_: training, lambda: validation, lambda: None))


def test_weight_decay_and_momentum_are_given_to_the_optimiser():
    sgd = trainer(replace(SETTINGS, optimiser="sgd", weight_decay=0.25)).optimiser.param_groups[0]
    assert (sgd["momentum"], sgd["weight_decay"], sgd["lr"]) == (0.9, 0.25, 2e-3)
    assert trainer(replace(SETTINGS, weight_decay=0.5)).optimiser.param_groups[0]["weight_decay"] == 0.5


def test_identities_go_to_the_losses_of_a_method_that_wants_them():
    net = ByIdentity(lambda weight, frames: weight * frames.mean())
    batch = torch.tensor([1.0, 2.0, 4.0])[:, None], torch.tensor([7, 5, 7])
    (epoch,) = trainer(replace(SETTINGS, epochs=1, lr=0.0), net).epochs(
        lambda *_: [batch], lambda: [batch], lambda: None
    )
    assert epoch.train["loss"] == epoch.val["loss"] == 2.5
