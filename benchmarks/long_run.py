"""Trainings that are killed and started again for hours: memory, open files and processes, which should stay flat.

    python -m benchmarks.long_run --minutes 120 contrastive vicreg

Trains the methods one after the other as `dvc repro` would, on data/tracks with params.yaml, into `--out`. After random
times the training is killed with SIGKILL, and started again. Prints a line for every stretch between two starts, and at
the end how much the figures of late stretches differ from those of early ones. Exit status 1: a training failed, or a
process or a partial model was left behind.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

EVERY_S = 5.0  # between two looks
SETTLED_S = 30.0  # of processor time: after so much a training holds what it needs, however busy the machine is
KILLED = -9
COLUMNS = f"{'min':>5} {'training':<24} {'ended':<8} {'GB first':>8} {'GB last':>8} {'files':>5} {'processes':>9}"


class Seen(NamedTuple):
    """What a process and its children hold at one moment."""

    after_s: float
    worked_s: float  # processor time
    gb: float
    files: int
    processes: int


@dataclass(frozen=True)
class Stretch:
    """From one start of a training to its end."""

    name: str
    status: int
    seen: Sequence[Seen]
    orphans: int  # processes that outlived it

    @property
    def settled(self) -> Sequence[Seen]:
        return [one for one in self.seen if one.worked_s >= SETTLED_S]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--kill-after", type=float, default=8.0, help="minutes, in the mean (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings, and of the moments")
    parser.add_argument("--data", type=Path, default=Path("data"), help="its tracks and splits are trained on")
    parser.add_argument("--out", type=Path, help="keep the models here (default: a folder that is removed)")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = wanted.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        print(COLUMNS)
        stretches = list(run(wanted, out))
        bad = sum(one.status not in (0, KILLED) for one in stretches)
        partial = [path for path in out.iterdir() if not (path / "model.safetensors").exists()]
    print(*summary(stretches), f"failed {bad}, partial models {len(partial)}", sep="\n")
    sys.exit(bool(bad or partial or sum(one.orphans for one in stretches)))


def run(wanted: argparse.Namespace, out: Path) -> Iterator[Stretch]:
    """Train, kill and start again until the minutes are over or all methods are trained."""
    rng = np.random.default_rng(wanted.seed)
    start, ends = time.monotonic(), time.monotonic() + 60 * wanted.minutes
    methods = list(wanted.methods)
    while methods and time.monotonic() < ends:
        limit_s = min(60 * rng.exponential(wanted.kill_after), ends - time.monotonic())
        one = stretch(methods[0], wanted, out, limit_s)
        print(line(one, (time.monotonic() - start) / 60), flush=True)
        yield one
        if one.status != KILLED:
            del methods[0]


def stretch(method: str, wanted: argparse.Namespace, out: Path, limit_s: float) -> Stretch:
    """Start the training and look at it until it ends, or until it is killed after `limit_s`."""
    name = f"{method}-{wanted.seed}"
    command = [sys.executable, "-m", "stages.pretrain", method, str(wanted.seed), "--tracks", wanted.data / "tracks",
               "--splits", wanted.data / "splits/tracks", "--out", out / name]  # fmt: skip
    start, seen = time.monotonic(), list[Seen]()
    process = psutil.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family: set[psutil.Process] = set()
    while process.poll() is None:
        if (after_s := time.monotonic() - start) >= limit_s:
            process.kill()
            break
        try:
            seen.append(look(process, after_s, family))
        except psutil.NoSuchProcess:
            continue  # one has ended between two questions
        time.sleep(EVERY_S)
    status = process.wait()
    _, left = psutil.wait_procs(list(family - {process}), timeout=10)
    return Stretch(name, status, seen, len(left))


def look(process: psutil.Process, after_s: float, family: set[psutil.Process]) -> Seen:
    """Look at it and its children, which are added to `family`."""
    now = [process, *process.children(recursive=True)]
    family.update(now)
    held = sum(one.memory_full_info().pss for one in now)
    times = process.cpu_times()
    return Seen(after_s, times.user + times.system, held / 2**30, sum(one.num_fds() for one in now), len(now))


def line(one: Stretch, minute: float) -> str:
    """A stretch for people."""
    first, *_, last = (one.settled or one.seen or [Seen(0.0, 0.0, 0.0, 0, 0)]) * 2
    ended = {0: "whole", KILLED: "killed"}.get(one.status, f"status {one.status}")
    return (f"{minute:5.0f} {one.name:<24} {ended:<8} {first.gb:8.2f} {last.gb:8.2f} {last.files:5} "
            f"{last.processes:9}")  # fmt: skip


def summary(stretches: Sequence[Stretch]) -> Iterator[str]:
    """How much memory, files and processes grew within stretches, over all of them."""
    long = [one.settled for one in stretches if len(one.settled) > 1]
    yield f"{len(stretches)} starts, {sum(one.status == KILLED for one in stretches)} kills"
    if long:
        grown = [one[-1].gb - one[0].gb for one in long]
        hours = sum(one[-1].after_s - one[0].after_s for one in long) / 3600
        yield f"memory: {sum(grown) / hours:+.3f} GB in an hour of training, at most {max(grown):+.3f} in a stretch"
        yield f"open files: at most {max(one[-1].files - one[0].files for one in long):+d} in a stretch"
        yield f"processes: at most {max(seen.processes for one in long for seen in one)} at once"
    yield f"processes that outlived a training: {sum(one.orphans for one in stretches)}"


if __name__ == "__main__":
    main()
