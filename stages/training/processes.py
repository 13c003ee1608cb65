"""The processes of one training: how they find each other, what they must agree on, how they end.

Each has a device of its own and a share of every batch (`fabnet.modules.ranks`). torchrun starts them, on one machine
or on several, called by the user or by the training itself (`stages.training.torchrun`).
"""

import json
import logging
import os
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from stages.runtime import starter, workers
from stages.runtime.errors import UserError
from stages.training import models

TIMEOUT = timedelta(minutes=10)  # that a process waits for another one, which may be writing or compiling
TORCHRUN_TIMEOUT = timedelta(minutes=1)  # that a process waits for torchrun, which is there already
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}  # by kind of device
LOST = (
    "a process lost the connection to another one, which has ended or hangs: "
    "the same command continues from the last state that was saved"
)


@dataclass(frozen=True)
class Member:
    """What one process tells the others before they train together."""

    host: str
    kind: str  # of its device; empty if there is none for it
    work: str  # digest of code, parameters and tables
    problem: str | None  # why it has no device


def is_first() -> bool:
    """Whether this process writes what all of them have made; True if it is alone."""
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


def are_alone() -> bool:
    """Whether this process trains without others."""
    return not dist.is_torchelastic_launched()


def threads() -> int:
    """Cores for each process of this machine, if they share them equally."""
    return max(1, workers.available() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@contextmanager
def joined(device: str, batch: int, work: str) -> Generator[torch.device]:
    """The device of this process; until the block ends it is in a group with those that torchrun started with it.

    Args:
        device: `pretrain.device`.
        batch: samples of all processes in a step.
        work: digest of all that the result depends on.

    Raises:
        UserError: the processes differ, cannot share a batch, or one of them has ended.
    """
    if not dist.is_torchelastic_launched():
        yield models.device(device)
        return
    starter.end_with_parent()
    try:
        own = _form_group(device, batch, work)
        yield own
        dist.destroy_process_group()  # not after an error: it would wait for processes that have ended
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise UserError(LOST) from None
        raise


def _form_group(device: str, batch: int, work: str) -> torch.device:
    store, number, count = next(iter(dist.rendezvous("env://", timeout=TORCHRUN_TIMEOUT)))
    store.set_timeout(TIMEOUT)
    own, member = _member(device, work)
    store.set(f"member/{number}", json.dumps(asdict(member)))
    members = [Member(**json.loads(store.get(f"member/{other}"))) for other in range(count)]
    if problem := disagreement(members, batch):
        raise UserError(problem)
    group = dist.PrefixStore("group", store)
    dist.init_process_group(BACKENDS[own.type], store=group, rank=number, world_size=count, timeout=TIMEOUT)
    if not is_first():
        logging.disable(logging.INFO)  # the first process speaks for all
    return own


def _member(device: str, work: str) -> tuple[torch.device, Member]:
    """The device of this process, and what it tells the others."""
    host, place = socket.gethostname(), dist.get_node_local_rank()
    if device != "cpu" and place < torch.cuda.device_count():
        torch.cuda.set_device(place)  # before anything takes memory of the first GPU
    try:
        own = models.device(device)
        if own.type == "cuda" and place >= torch.cuda.device_count():
            raise UserError(f"{torch.cuda.device_count()} GPUs are not enough: start at most one process for each")
    except UserError as error:
        return torch.device("cpu"), Member(host, "", work, str(error))
    if own.type == "cuda":
        own = torch.device("cuda", place)
    return own, Member(host, own.type, work, None)


def disagreement(members: Sequence[Member], batch: int) -> str | None:
    """Why these processes cannot train together, in one sentence; None if they can."""
    first, count = members[0], len(members)
    for number, member in enumerate(members):
        where = f"process {number} on {member.host}"
        if member.problem:
            return f"{where}: {member.problem}"
        if member.kind != first.kind:
            return (
                f"all processes should train on the same kind of device, found {first.kind} in process 0 on "
                f"{first.host} and {member.kind} in {where}: leave out machines without a GPU, or set pretrain.device "
                "to cpu"
            )
        if member.work != first.work:
            return (
                f"{where} has other code, parameters or tables than process 0 on {first.host}: give all machines "
                "the same commit, the same params.yaml and the same shared folder"
            )
    if first.kind not in BACKENDS:
        return f"several processes can train on cuda or cpu, found {first.kind}: set pretrain.device to cpu"
    if batch % count:
        return (
            f"a batch of {batch} cannot be shared equally by {count} processes: start {largest_share(batch, count)} "
            f"or make it a multiple of {count}"
        )
    return None


def largest_share(batch: int, most: int) -> int:
    """The largest number of processes up to `most` that can share a batch equally."""
    return max(number for number in range(1, most + 1) if batch % number == 0)
