"""Work in a process of its own: it ends in a result or in a reject, whatever a library does there."""

import gc
import importlib
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from threading import Timer

import psutil
import pytest

from stages.runtime import bounded, limits
from stages.runtime.errors import Rejected, UserError
from stages.runtime.limits import Limits


@pytest.fixture
def in_short_time(monkeypatch):
    monkeypatch.setattr(limits, "_now", Limits(process_s=0.2))


def where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def fails(how: str) -> str:
    match how:
        case "dies":
            os.kill(os.getpid(), 11)
        case "aborts":
            os.abort()
        case "never ends":
            while True:
                pass
        case "waits":
            time.sleep(60)
        case "takes memory":
            return str(len(bytearray(2**31)))
        case "rejects":
            raise Rejected("too odd", "by half")
    return how


def test_results_come_in_order_from_one_other_process():
    (one, process), (two, same) = bounded.each(where, [1, 2])
    assert (one, two) == (1, 2)
    assert process == same != os.getpid()


def imports_the_main_module(number: int) -> bool:
    return hasattr(sys.modules["__main__"], "__file__")


def test_the_process_does_not_import_what_python_was_started_with(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", importlib.import_module("json.tool"))
    assert list(bounded.each(imports_the_main_module, [1])) == [False]


def process_s(_: int) -> float:
    return limits.now().process_s


@pytest.mark.usefixtures("in_short_time")
def test_the_limits_hold_in_the_other_process():
    assert list(bounded.each(process_s, [0])) == [0.2]


@pytest.mark.usefixtures("in_short_time")
def test_what_an_item_took_is_not_counted_for_the_next():
    assert list(bounded.each(fails, ["fine"] * 50)) == ["fine"] * 50


ENDS = {
    "dies": "the library that reads it crashed",
    "aborts": "the library that reads it crashed",
    "never ends": "takes too long: more than 0.2 s",
    "waits": "takes too long: more than 0.2 s",
    "takes memory": "takes too much memory: more than 1024 MiB",
    "rejects": "too odd: by half",
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.usefixtures("in_short_time")
def test_an_item_that_cannot_be_read_is_rejected_with_its_reason(how, capfd):
    results = bounded.each(fails, ["fine", how])
    assert next(results) == "fine"
    with pytest.raises(Rejected) as rejected:
        next(results)
    assert str(rejected.value) == ENDS[how]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_process_that_is_killed_says_nothing_of_the_item(is_sent):
    """Whether the item was on its way or not: the connection then ends in one error or another."""
    process: list[psutil.Process] = []

    def items() -> Iterator[int]:
        yield 1
        if is_sent:
            process[0].suspend()
            Timer(0.2, process[0].kill).start()
        else:
            process[0].kill()
            while process[0].status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
        yield 2

    results = bounded.each(where, items())
    process.append(psutil.Process(next(results)[1]))
    with pytest.raises(UserError, match="the process that reads 2 was ended by SIGKILL, if not by you then most"):
        next(results)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_ended_at_work_says_nothing_of_the_item(end):
    with pytest.raises(UserError, match=f"was ended by {end.name}"):
        next(bounded.each(ends_by, [end]))


def ends_by(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def test_an_answer_that_is_cut_off_is_the_end_of_the_process():
    """A long answer is sent in two parts; one that is killed in between has sent its length."""
    with pytest.raises(UserError, match="was ended by SIGKILL"):
        next(bounded.each(sends_half, [1]))


def sends_half(_: int) -> None:
    ours = next(item for item in gc.get_objects() if isinstance(item, Connection) and item.writable)
    os.write(ours.fileno(), struct.pack("!i", 1000) + b"half")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_that_is_not_there_is_told_as_such():
    with pytest.raises(FileNotFoundError, match="nowhere"):
        next(bounded.each(os.stat, ["nowhere"]))


def test_a_limit_stays_below_what_the_user_may_take():
    code = """
import resource
from stages.runtime import bounded
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 1000))
bounded.limit(resource.RLIMIT_FSIZE, 5000)
print(resource.getrlimit(resource.RLIMIT_FSIZE))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(1000, 1000)\n"
