import torch

from fabnet.modules.draws import Draws


def lowbias32(number: int) -> int:
    """The hash as its author gives it, on whole numbers of 32 bits."""
    number ^= number >> 16
    number = number * 0x7FEB352D % 2**32
    number ^= number >> 15
    number = number * 0x846CA68B % 2**32
    return number ^ number >> 16


def test_numbers_follow_from_step_sample_and_place_by_a_known_hash():
    draws = Draws()
    draws(2, 2)
    expected = [
        [lowbias32((lowbias32((lowbias32(2) + sample) % 2**32) + place) % 2**32) // 256 / 2**24 for place in range(5)]
        for sample in range(7)
    ]
    assert draws(7, 5).tolist() == expected


def test_numbers_are_spread_evenly():
    numbers = Draws()(500, 40)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    share = torch.histc(numbers, 10, 0, 1) / numbers.numel()
    assert ((share - 0.1).abs() < 0.01).all()
    assert numbers.flatten().unique().numel() > 0.99 * numbers.numel()


def test_neighbours_are_not_alike():
    numbers = Draws()(500, 40) - 0.5
    for one, other in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        assert abs((one * other).mean() * 12) < 0.03  # 1 where one equals the other


def test_every_training_step_has_its_own_numbers():
    draws = Draws()
    steps = torch.stack([draws(20, 5) for _ in range(30)])
    assert steps.flatten().unique().numel() > 0.99 * steps.numel()


def test_every_evaluation_has_the_same_numbers():
    draws = Draws()
    draws(4, 3)
    first = draws.eval()(4, 3)
    draws.train()(4, 3)
    assert torch.equal(draws.eval()(4, 3), first)


def test_the_next_step_has_the_same_numbers_after_a_restart():
    draws, restarted = Draws(), Draws()
    draws(4, 3)
    restarted.load_state_dict(draws.state_dict())
    assert torch.equal(restarted(4, 3), draws(4, 3))


def test_a_sample_has_the_same_numbers_in_a_longer_batch():
    assert torch.equal(Draws()(3, 5), Draws()(6, 5)[:3])
