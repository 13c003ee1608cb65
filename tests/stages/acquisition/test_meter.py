import logging

import pytest

from stages.acquisition.meter import Meter
from stages.acquisition.registry import Entry


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def files(*sizes: int | None) -> list[Entry]:
    return [Entry(str(number), size, "", "OWNER") for number, size in enumerate(sizes)]


def test_line_shows_files_bytes_rate_and_time_left(clock):
    meter = Meter(files(10 * 10**9, 20 * 10**9), clock)
    clock.seconds = 1000
    meter.add(10 * 10**9)
    meter.file_done()
    assert meter.line() == "downloading: 1 of 2 files, 10.0 of 30.0 GB, 10.0 MB/s, 0:33 h left"


def test_line_without_known_sizes_shows_no_time_left(clock):
    meter = Meter(files(None), clock)
    clock.seconds = 2
    meter.add(10**8)
    assert meter.line() == "downloading: 0 of 1 files, 0.1 GB, 50.0 MB/s"


def test_line_is_logged_every_10_seconds(clock, caplog):
    caplog.set_level(logging.INFO)
    meter = Meter(files(10**9), clock)
    for second in range(35):
        clock.seconds = second
        meter.add(10**6)
    assert len(caplog.messages) == 3
