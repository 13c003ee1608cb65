"""Work in a process of its own: it ends in a result or in a reject, whatever a library does there."""

import importlib
import os
import sys
import time

import pytest

from stages.runtime import bounded
from stages.runtime.bounded import Limits
from stages.runtime.errors import Rejected

SHORT = Limits(seconds=0.2)


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


def test_what_an_item_took_is_not_counted_for_the_next():
    assert list(bounded.each(fails, ["fine"] * 50, SHORT)) == ["fine"] * 50


ENDS = {
    "dies": "the library that reads it crashed",
    "aborts": "the library that reads it crashed",
    "never ends": "takes too long: more than 0.2 s",
    "waits": "takes too long: more than 0.2 s",
    "takes memory": "takes too much memory: more than 1 GiB",
    "rejects": "too odd: by half",
}


@pytest.mark.parametrize("how", ENDS)
def test_an_item_that_cannot_be_read_is_rejected_with_its_reason(how, capfd):
    results = bounded.each(fails, ["fine", how], SHORT)
    assert next(results) == "fine"
    with pytest.raises(Rejected) as rejected:
        next(results)
    assert str(rejected.value) == ENDS[how]
    assert capfd.readouterr().err == ""
