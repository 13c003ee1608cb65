"""Readers that do what none may do, to see that the fuzzing program tells: prints what it told, as JSON by name."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import workers


class DataError(Exception):
    pass


def busy(data: bytes, folder: Path) -> None:
    while data == b"3":
        pass


def refuses(data: bytes, folder: Path) -> None:
    raise DataError(f"found {data!r}: make it again")


def raises(data: bytes, folder: Path) -> None:
    if data == b"3":
        raise KeyError(data)


def says(text: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        raise DataError(text)

    return read


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "works": lambda data, folder: (folder / "out").write_bytes(data),
    "refuses": refuses,
    "raises another error": raises,
    "says two lines": says("one\ntwo"),
    "says what is no text": says("\udcff"),
    "never ends": busy,
    "crashes": lambda data, folder: os.kill(os.getpid(), 11),
    "takes memory": lambda data, folder: bytearray(b"a") * 2**26,
    "writes outside": lambda data, folder: (folder.parent / "out").write_bytes(data),
    "removes outside": lambda data, folder: (folder.parent / "x").unlink(),
    "links to outside": lambda data, folder: os.link("/etc/hosts", folder / ".." / "hosts"),
    "connects": lambda data, folder: socket.create_connection(("127.0.0.1", 9)),
}


def main() -> None:
    workers.MAX_S, workers.MAX_MEMORY = 0.5, 2**25
    told: dict[str, Any] = {}
    for name, read in READERS.items():
        target: Any = SimpleNamespace(name=name, read=read, allowed=(DataError,), is_bounded=False)
        done = workers.run(target, lambda: (b"%d" % number for number in range(5)))
        told[name] = [
            done.begun,
            done.finding.what if done.finding else "",
            done.finding.data.decode() if done.finding else "",
        ]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
