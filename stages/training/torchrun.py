"""A training that starts itself again by torchrun, in one process for each GPU that it sees.

Their number is no parameter, since results depend on it by rounding alone: who wants one sets CUDA_VISIBLE_DEVICES=0.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from fabnet.training import options
from stages.runtime import workers
from stages.runtime.errors import UserError
from stages.runtime.params import PretrainParams
from stages.training import processes

log = logging.getLogger(__name__)

LEAST_SHARE = 8  # samples; a GPU with fewer waits for the next kernel to be launched more than it computes
STOPPING = "SIGTERM,SIGHUP,SIGQUIT"  # SIGINT stays as it is: processes need not hear of it
AGAIN = "the same command continues from the last state that was saved"


def due(params: PretrainParams) -> int:
    """How many processes should train in place of this one; 1 where torchrun or no stage's command started it."""
    if params.device not in ("auto", "cuda") or params.compile in options.GRAPHS:
        return 1
    if dist.is_torchelastic_launched() or not _stage():
        return 1
    return worthwhile(params.batch, torch.cuda.device_count())


def worthwhile(batch: int, gpus: int) -> int:
    """The largest number of processes, at most one for each GPU, that share a batch equally and have enough of it."""
    return processes.largest_share(batch, max(1, min(gpus, batch // LEAST_SHARE)))


def again(number: int) -> None:
    """Run the command of this process in `number` processes, see `start`."""
    log.info("training on %d GPUs, in one process for each", number)
    start(number, _stage(), sys.argv[1:])
    torch.cuda.init()  # its time is told as that of a GPU


def start(number: int, module: str, arguments: Sequence[str]) -> None:
    """Run `python -m module` in `number` processes of this machine and wait until they have ended.

    Raises:
        UserError: what the first process that failed has said.
        KeyboardInterrupt: the user stopped them.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, workers.available() // number)))
    with tempfile.TemporaryDirectory() as logs, _quiet():
        options = ["--standalone", "--local-addr", "localhost", "--nproc-per-node", str(number), "--log-dir", logs]
        parsed = run.parse_args([*options, "-m", module, *arguments])
        parsed.signals_to_handle = STOPPING
        try:
            run.run(parsed)
        except ChildFailedError as error:
            raise UserError(reason(error.failures, number)) from None
        except SignalException as error:
            sys.exit(128 + error.sigval)


def reason(failures: Mapping[int, ProcessFailure], number: int) -> str:
    """One sentence on why processes failed: what one of them said or how it ended, not what followed from that."""
    said = {rank: str(failure.message) for rank, failure in failures.items() if "timestamp" in failure.error_file_data}
    if own := [sentence for sentence in said.values() if sentence != processes.LOST]:
        return own[0]
    alone = {rank: failure for rank, failure in failures.items() if rank not in said}
    rank, failure = min(alone.items(), key=lambda item: item[1].exitcode == -signal.SIGTERM, default=(0, None))
    if failure is None:
        return processes.LOST
    if failure.exitcode == -signal.SIGKILL:
        return f"process {rank} of {number} was killed, most likely for lack of memory: free some, {AGAIN}"
    if failure.exitcode < 0:
        return f"process {rank} of {number} was ended by {failure.signal_name()}: {AGAIN}"
    return f"process {rank} of {number} ended with status {failure.exitcode}, its last lines say why: {AGAIN}"


def _stage() -> str:
    """Name of the stage that was started as `python -m stages.<name>`; empty if it was something else."""
    name = getattr(sys.modules["__main__"].__spec__, "name", "")
    return name if name.startswith("stages.") else ""


@contextmanager
def _quiet() -> Generator[None]:
    """Without what torchrun logs of processes that fail: `start` tells it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
