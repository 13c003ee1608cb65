import os
import time

import pytest

from stages.runtime import workers
from stages.runtime.errors import UserError


def slow_first(number: int) -> tuple[int, int]:
    if number == 0:
        time.sleep(0.3)
    return number, os.getpid()


def die(number: int) -> int:
    if number == 1:
        os._exit(9)
    return number


def test_results_keep_the_order_of_the_input_over_processes():
    results = list(workers.in_order(slow_first, range(12), 2))
    assert [number for number, _ in results] == list(range(12))
    assert os.getpid() not in {process for _, process in results}


def test_a_single_input_needs_no_other_process():
    assert list(workers.in_order(slow_first, [5], 2)) == [(5, os.getpid())]
    assert list(workers.in_order(slow_first, [], 2)) == []


def test_inputs_are_taken_as_they_are_needed():
    taken = []
    results = workers.in_order(slow_first, (taken.append(n) or n for n in range(100)), 2)
    next(results)
    results.close()
    assert len(taken) <= 8


def test_a_process_that_dies_is_a_user_error():
    with pytest.raises(UserError, match="worker processes died"):
        list(workers.in_order(die, range(4), 2))
