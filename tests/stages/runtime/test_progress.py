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


def test_a_line_shows_rate_and_time_left():
    assert (
        progress.describe(200, 900, 5.0, "detect", "images")
        == "detect: 200/900 images (22 %), 40.0 images/s, 0:18 left"
    )


def test_an_empty_loop_ends_with_a_line(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    assert list(progress.track([], 0, "detect", "images")) == []
    assert caplog.messages == ["detect: 0/0 images, 0.0 images/s, took 0:00"]


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
