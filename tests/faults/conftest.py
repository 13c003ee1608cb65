"""Counts of the kill tests: each leaves them with its result, and their sum is printed at the end."""

from collections.abc import Callable, Iterator
from functools import cache

import kills
import pytest
from kills import Whole
from tally import Tally, summed

PROPERTY = "kills"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """What a stage makes that is not killed; made once."""
    return cache(lambda name: kills.whole(name, tmp_path_factory.mktemp(name)))


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """What a test counts; its findings fail it at its end, so that one of them does not end the count."""
    counted = Tally()
    yield counted
    record_property(PROPERTY, counted.told())
    assert counted.findings() == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ends = (report for kind in ("", "error") for report in terminalreporter.getreports(kind))
    reports = [report for report in ends if getattr(report, "when", "") == "teardown"]  # by then a test has counted all
    told = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    if line := summed(told):
        terminalreporter.write_line(line)
