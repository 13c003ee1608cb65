"""Inputs given to a reader in a process of its own, which ends when one of them does what no input may do.

No input may raise anything but the errors that its reader documents, say more than one line, crash the process, compute
for more than 5 s, take more than 1 GB, write outside its folder or connect to anything.
"""

import gc
import logging
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.runtime import starter

if TYPE_CHECKING:
    from target import Target

MAX_S = 5  # of computing
MAX_WAIT_S = 600  # of a machine that is busy with something else, too
MAX_MEMORY = 2**30
REFUSED_MEMORY = 3 * 2**30  # beyond what a process has at its start: the system refuses it
_SLATE_BYTES = 2**21
_HEAD = struct.Struct("<QQQ")  # inputs begun, bytes of the one in hand, bytes of what is told about it
_ENDS = {-signal.SIGPROF: "takes too long", -signal.SIGALRM: "waits too long", -signal.SIGKILL: "takes too much memory"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.rmdir")
_REACHES = ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.system", "os.exec")
Inputs = Iterable[bytes]
Give = Callable[[Callable[[bytes], None]], None]


class Finding(NamedTuple):
    """An input that did what none may do."""

    target: str
    what: str  # one line: equal findings have it in common
    data: bytes
    told: str  # a traceback, or nothing


class NotAllowed(BaseException):
    """An input reached out of its folder."""


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    begun: int  # inputs
    finding: Finding | None


class Guard:
    """Watches what Python opens, changes and connects to while a reader works."""

    def __init__(self, folder: Path) -> None:
        self.is_on = False
        self._folder = str(folder)
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and (event in _REACHES or not self._is_within(event, arguments)):
            raise NotAllowed(f"{event} {arguments[:2]}")

    def _is_within(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether what is changed, the last path, lies in the folder."""
        if event == "open":
            path, _, flags = arguments
            changed = [path] if isinstance(flags, int) and flags & _WRITES else []
        else:
            changed = arguments[:2] if event in _CHANGES else ()
        paths = [os.fsdecode(path) for path in changed if isinstance(path, str | bytes | os.PathLike)]
        return not paths or paths[-1] == os.devnull or os.path.realpath(paths[-1]).startswith(self._folder)


class Slate:
    """Memory that a process shares with its parent: the input in hand stands there when the process dies."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLATE_BYTES)

    def begin(self, data: bytes) -> None:
        begun, _, _ = _HEAD.unpack_from(self._memory)
        self._memory[_HEAD.size : _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._memory, 0, begun + 1, len(data), 0)

    def tell(self, text: str) -> None:
        begun, size, _ = _HEAD.unpack_from(self._memory)
        told = text.encode("utf-8", "backslashreplace")[-16_384:]
        at = _HEAD.size + size
        self._memory[at : at + len(told)] = told
        _HEAD.pack_into(self._memory, 0, begun, size, len(told))

    def read(self) -> tuple[int, bytes, str]:
        begun, size, told = _HEAD.unpack_from(self._memory)
        at = _HEAD.size + size
        return begun, self._memory[_HEAD.size : at], self._memory[at : at + told].decode()


def run(target: "Target", inputs: Callable[[], Inputs]) -> Run:
    """Give the inputs to the target's reader, one after the other, up to the first finding."""
    return given(target, lambda work: _each(work, inputs()))


def given(target: "Target", give: Give) -> Run:
    """As `run`; `give` calls the function that it gets with every input."""
    slate = Slate()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory_disk()) as folder:
        if (process := os.fork()) == 0:
            _work(target, give, slate, Path(folder))
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    begun, data, told = slate.read()
    what = told.split("\n")[0] if told else _ENDS.get(status, f"signal {-status}" if status < 0 else f"exits {status}")
    is_end = status == 0 or (target.is_bounded and status < 0)
    return Run(begun, None if is_end else Finding(target.name, what, data, told))


def _memory_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _each(work: Callable[[bytes], None], inputs: Inputs) -> None:
    for data in inputs:
        work(data)


def _work(target: "Target", give: Give, slate: Slate, folder: Path) -> None:
    """The process that reads: it leaves with status 0 if there was no finding."""
    status = 1
    try:
        _limit()
        scratch = folder / "inside"
        scratch.mkdir()
        os.chdir(scratch)
        guard, start = Guard(scratch), _peak_bytes()

        def work(data: bytes) -> None:
            slate.begin(data)
            signal.setitimer(signal.ITIMER_PROF, MAX_S)
            signal.setitimer(signal.ITIMER_REAL, MAX_WAIT_S)
            told = _told(target, data, scratch, guard)
            if _peak_bytes() > start + MAX_MEMORY:
                told = told or "takes too much memory"
            if told and not (target.is_bounded and told.startswith(("takes", "MemoryError"))):
                slate.tell(told)
                os._exit(1)

        give(work)
        status = 0
    except BaseException:
        slate.tell("the fuzzing program itself\n" + traceback.format_exc())
    finally:
        os._exit(status)


def _told(target: "Target", data: bytes, scratch: Path, guard: Guard) -> str:
    """What the input did that none may do; empty if nothing."""
    try:
        guard.is_on = True
        target.read(data, scratch)
    except target.allowed as error:
        sentence = str(error)
        if type(error) not in target.allowed:
            return _named(error)
        if "\n" in sentence.strip() or sentence != sentence.encode("utf-8", "replace").decode():
            return f"says what cannot be printed in a line: {sentence!r}"[:300]
    except (Exception, NotAllowed) as error:
        return _named(error)
    finally:
        guard.is_on = False
    return ""


def _named(error: BaseException) -> str:
    """Kind of error and the place of the project from which it comes, then the whole traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    ours = [frame for frame in frames if "/stages/" in frame.filename or "/fabnet/" in frame.filename]
    ours += [frame for frame in frames if "/pipelines/" in frame.filename]
    at = f"{Path(ours[-1].filename).name} in {ours[-1].name}" if ours else "the fuzzing program"
    return f"{type(error).__name__} from {at}\n" + "".join(traceback.format_exception(error))


def _limit() -> None:
    starter.kill_with_parent()
    for number in (signal.SIGPROF, signal.SIGALRM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = Path("/proc/self/status")
    if status.exists():
        data_kb = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (int(data_kb) * 1024 + REFUSED_MEMORY,) * 2)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(quiet, number)
    logging.disable()
    gc.freeze()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
