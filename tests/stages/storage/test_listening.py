import os
import re
import sys
import threading
from contextlib import suppress

import pytest

from stages.storage import listening

WANTED = re.compile(rb"damage.*")


def write(text: bytes) -> None:
    os.write(2, text)


def test_wanted_lines_are_heard_and_the_others_are_passed_on(capfd):
    with listening.heard(WANTED) as lines:
        write(b"one\n[12:30] damage at 7\ntwo\n")
    assert lines == ["damage at 7"]
    assert capfd.readouterr().err == "one\ntwo\n"


def test_standard_error_is_put_back_after_an_exception(capfd):
    with pytest.raises(KeyError), listening.heard(WANTED):
        raise KeyError
    write(b"damage\n")
    assert capfd.readouterr().err == "damage\n"


def test_more_than_a_pipe_holds_does_not_block():
    with listening.heard(WANTED) as lines:
        write(b"damage\n")
        with suppress(BlockingIOError):
            write(bytes(1_000_000))
            write(bytes(1_000_000))
    assert lines == ["damage"]


def test_threads_hear_their_own_lines_only(capfd):
    heard: dict[int, list[str]] = {}

    def listen(number: int) -> None:
        for _ in range(50):
            with listening.heard(WANTED) as lines:
                write(b"damage %d\n" % number)
            heard.setdefault(number, []).extend(lines)

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {number: [f"damage {number}"] * 50 for number in range(4)}


def test_no_descriptor_is_left_open():
    if not sys.platform.startswith("linux"):
        pytest.skip("counts descriptors in /proc")
    count = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        with listening.heard(WANTED):
            write(b"damage\n")
    assert len(os.listdir("/proc/self/fd")) == count  # noqa: PTH208
