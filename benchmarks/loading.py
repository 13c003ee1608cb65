"""Pictures a second from JPEG to the network, against the original's chain of PIL operations.

The original decodes the owner's frame of 224 px, scales, pads and cuts it, draws a square and scales again, for every
sample. `crop` has done the first three once and stored 190 px. Rates of a core are of processor time, so that other
work on the machine disturbs them little; that of two workers is of the clock, and skipped where others use the cores.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import original
from benchmarks.original import CENTRE_PX, JITTER_PX, PAD_LTRB_PX, SCALE_PX
from benchmarks.pictures import jpegs
from benchmarks.rows import Measured, Row, apart, cores
from fabnet.images import scale_pad_centre
from fabnet.modules.frame_choice import Choice
from fabnet.training import cuts, pairs
from stages.storage import media

BATCH, PICTURES, TURNS = 32, 512, 3
PASSES = 10  # through the pictures in a turn by the clock, about a second
CPU = torch.device("cpu")
QUIET = 0.05  # share of the cores that others may use
ORIGINAL = "the original's PIL chain"


def compare(wanted: Namespace) -> Iterator[Row]:
    """Rows for a GPU, with the resize on the CPU at each size, and for two workers."""
    former = {size_px: apart(original_rate, size_px) for size_px in wanted.sizes}
    cut = apart(cut_rate)
    for size_px, comparison in former.items():
        yield _row(f"JPEG to cut pixels for a GPU, a core, against {size_px} px", cut, comparison)
        yield _row(f"JPEG to {size_px} px on the CPU, a core", apart(whole_rate, size_px), comparison)
    yield two_workers()


def two_workers() -> Row:
    """The loader for a GPU with two threads and with one, by the clock."""
    what, compared_with = "JPEG to cut pixels for a GPU, two workers", "one worker"
    if cores() < 2:
        return Row("loading", what, "pictures/s", compared_with, skipped="there is one core")
    one, two = (apart(clock_rate, workers) for workers in (1, 2))
    if min(one.value, two.value) == 0:
        return Row("loading", what, "pictures/s", compared_with, skipped="other programs use the cores")
    return Row("loading", what, "pictures/s", compared_with, two.value, one.value)


def original_rate(size_px: int) -> float:
    """Pictures a second of a core in the original's way."""
    owners = jpegs()[:PICTURES]

    def chain(rng: np.random.Generator) -> Iterator[Tensor]:
        for start in range(0, len(owners), 2 * BATCH):
            yield torch.stack([original.prepared(owner, size_px, rng) for owner in owners[start : start + 2 * BATCH]])

    return of_a_core(chain)


def whole_rate(size_px: int) -> float:
    """Pictures a second of a core to inputs of the network."""
    load = stored()
    return of_a_core(lambda rng: pairs.batches(drawn(rng), load, batch=BATCH, size_px=size_px, device=CPU, workers=1))


def cut_rate() -> float:
    """Pictures a second of a core to squares, which a GPU scales."""
    load = stored()
    return of_a_core(lambda rng: squares(drawn(rng), load, 1))


def clock_rate(workers: int) -> float:
    """Pictures a second of the clock to squares; 0 where other programs used the cores."""
    load, draw = stored(), drawn(np.random.default_rng(0))
    _limit_threads()
    best = 0.0
    for _ in range(TURNS):
        start, used, busy = time.perf_counter(), time.process_time(), _busy_s()
        count = sum(len(pixels) for _ in range(PASSES) for pixels, _ in squares(draw, load, workers))
        seconds = time.perf_counter() - start
        others = _busy_s() - busy - (time.process_time() - used)
        if others < QUIET * cores() * seconds:
            best = max(best, count / seconds)
    return best


def of_a_core(chain: Callable[[np.random.Generator], Iterable[object]]) -> float:
    """The best of some turns through PICTURES pictures, by processor time."""
    _limit_threads()
    best = 0.0
    for turn in range(TURNS):
        start = time.process_time()
        for _ in chain(np.random.default_rng(turn)):
            pass
        best = max(best, PICTURES / (time.process_time() - start))
    return best


def stored() -> Callable[[int], NDArray[np.uint8]]:
    """Decodes one of PICTURES frames as `crop` stores them."""
    owners = [media.decode_image(owner) for owner in jpegs()[:PICTURES]]
    kept = [media.encode_jpeg(scale_pad_centre(owner, SCALE_PX, PAD_LTRB_PX, CENTRE_PX), 95) for owner in owners]
    return lambda row: media.decode_image(kept[row])


def drawn(rng: np.random.Generator) -> pairs.Draw:
    """Every picture once, in pairs."""
    tracks = np.arange(PICTURES // 2)
    of_two = pairs.Tracks.of(tracks, tracks, 2 * tracks, np.full(len(tracks), 2))
    sizes, jitter_px = np.full((PICTURES, 2), CENTRE_PX), np.tile(JITTER_PX, (PICTURES, 1))
    return pairs.draw(of_two, sizes, jitter_px, choice=Choice(2), draws_per_identity=1, rng=rng)


def squares(
    draw: pairs.Draw, load: Callable[[int], NDArray[np.uint8]], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """What goes to a GPU; without one it is not pinned."""
    wanted = pairs.wanted(draw, BATCH)
    return cuts.loaded(wanted, load, side_px=JITTER_PX[1], workers=workers, pinned=torch.cuda.is_available())


def _limit_threads() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _busy_s() -> float:
    """Seconds that all cores have worked."""
    times = psutil.cpu_times()
    return times.user + times.system + getattr(times, "nice", 0) + getattr(times, "steal", 0)


def _row(what: str, ours: Measured, comparison: Measured) -> Row:
    return Row("loading", what, "pictures/s", ORIGINAL, ours.value, comparison.value, ours.peak_gb, comparison.peak_gb)
