import logging
from collections.abc import Callable, Iterator

import pytest

from stages.runtime import progress


def clock_ticking(step_s: float) -> Callable[[], float]:
    now = 0.0

    def tick() -> float:
        nonlocal now
        now += step_s
        return now

    return tick


def test_items_pass_through_unchanged_and_in_order():
    assert list(progress.track("face", 4, "read", "letters")) == ["f", "a", "c", "e"]


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    list(progress.track(range(25), 25, "crop", "tracks", clock=clock_ticking(1.0)))
    starts = [record.getMessage().split(" tracks")[0] for record in caplog.records]
    assert starts == ["crop: 10/25", "crop: 20/25", "crop: 25/25"]


def test_an_item_may_count_for_many(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    assert list(progress.track([20, 20, 5], 45, "crop", "tracks", size=int, clock=clock_ticking(10.0))) == [20, 20, 5]
    starts = [record.getMessage().split(" tracks")[0] for record in caplog.records]
    assert starts == ["crop: 20/45", "crop: 40/45", "crop: 45/45"]


def test_a_line_shows_rate_and_time_left():
    line = progress.describe(200, 900, "detect", "images", elapsed_s=5.0, rate=40.0)
    assert line == "detect: 200/900 images (22 %), 40.0 images/s, 0:18 left"


@pytest.mark.parametrize(
    ("total", "rate", "line"),
    [
        (900, None, "detect: 2/900 images (0 %), 0:11 so far"),
        (None, None, "detect: 2 images, 0:11 so far"),
        (None, 0.5, "detect: 2 images, 0.5 images/s, 0:11 so far"),
    ],
)
def test_a_line_says_only_what_is_known(total: int | None, rate: float | None, line: str):
    assert progress.describe(2, total, "detect", "images", elapsed_s=11.0, rate=rate) == line


def arriving(times_s: list[float], caplog: pytest.LogCaptureFixture, total: int = 1000) -> list[str]:
    """Lines of a loop whose items arrive at these times."""
    caplog.set_level(logging.INFO)
    ticks = iter([0.0, *times_s, times_s[-1]])
    list(progress.track(range(len(times_s)), total, "crop", "tracks", clock=lambda: next(ticks)))
    return caplog.messages


def test_the_seconds_until_the_first_items_are_not_in_the_first_estimate(caplog: pytest.LogCaptureFixture):
    """Processes start for 9 s; then two items a second come, which is 495 s for the rest."""
    lines = arriving([9 + n / 2 for n in range(30)], caplog)
    assert lines[0] == "crop: 3/1000 tracks (0 %), 0:10 so far"
    assert lines[1] == "crop: 23/1000 tracks (2 %), 2.0 tracks/s, 8:08 left"


def test_items_that_are_skipped_at_the_start_are_not_in_the_estimate(caplog: pytest.LogCaptureFixture):
    lines = arriving([0.01] * 500 + [n / 1.0 for n in range(1, 25)], caplog)
    assert lines[0] == "crop: 510/1000 tracks (51 %), 1.0 tracks/s, 8:10 left"


def test_the_estimate_follows_a_loop_that_becomes_slower(caplog: pytest.LogCaptureFixture):
    fast = [n / 10 for n in range(1, 600)]
    lines = arriving(fast + [60.0 + n for n in range(1, 130)], caplog)
    assert "10.0 tracks/s" in lines[4]
    assert lines[-2].split(", ")[1] == "1.0 tracks/s"


def test_a_loop_that_ends_before_its_announced_total_says_so(caplog: pytest.LogCaptureFixture):
    assert arriving([1.0, 2.0, 4.0], caplog, total=100) == ["crop: 3 tracks, 0.8 tracks/s, took 0:04"]


def test_an_empty_loop_ends_with_a_line(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    assert list(progress.track([], 0, "detect", "images")) == []
    assert caplog.messages == ["detect: 0 images, 0.0 images/s, took 0:00"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert list(progress.track(range(3), 3, "crop", "tracks")) == [0, 1, 2]
    assert "3/3" in capsys.readouterr().out


def test_an_error_inside_the_loop_is_not_swallowed():
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(progress.track(broken(), 2, "crop", "tracks"))
