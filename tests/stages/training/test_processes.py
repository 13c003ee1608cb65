"""What processes of one training must agree on, and what is told when they fail.

That they train alike is tested with real ones, in tests/contracts/test_pretext.py and tests/stages/test_pretrain.py.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from track_samples import params

from stages.training import processes, torchrun
from stages.training.processes import LOST, Member

MEMBER = Member(host="gpu1", kind="cuda", work="abc", problem=None)


def test_equal_processes_that_can_share_a_batch_agree():
    assert processes.disagreement([MEMBER, replace(MEMBER, host="gpu2")], batch=8) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "cpu"}, r"found cuda in process 0 on gpu1 and cpu in process 2 on gpu2: leave out machines without"),
        ({"work": "abd"}, r"process 2 on gpu2 has other code, parameters or tables than process 0 on gpu1: give all"),
        ({"kind": "", "problem": "no GPU here"}, r"^process 2 on gpu2: no GPU here$"),
    ],
)
def test_a_process_that_differs_is_named_with_what_to_do(changes: dict[str, str], sentence: str):
    members = [MEMBER, MEMBER, replace(MEMBER, host="gpu2", **changes)]
    assert re.search(sentence, str(processes.disagreement(members, batch=6)))


def test_a_batch_that_does_not_divide_is_refused_with_numbers_that_do():
    sentence = processes.disagreement([MEMBER] * 3, batch=8)
    assert sentence == "a batch of 8 cannot be shared equally by 3 processes: start 2 or make it a multiple of 3"


def test_several_processes_need_a_device_that_can_talk():
    assert "found mps: set pretrain.device to cpu" in str(processes.disagreement([replace(MEMBER, kind="mps")] * 2, 8))


@pytest.mark.parametrize(
    ("batch", "gpus", "number"), [(64, 8, 8), (32, 8, 4), (8, 8, 1), (16, 1, 1), (27, 4, 3), (64, 0, 1)]
)
def test_as_many_gpus_are_used_as_share_a_batch_equally_and_have_enough_of_it(batch: int, gpus: int, number: int):
    assert torchrun.worthwhile(batch, gpus) == number


def test_a_training_that_is_no_stages_command_is_not_started_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert torchrun.due(params(device="auto", batch=64)) == 1


def failure(rank: int, exitcode: int, folder: Path, said: str | None = None) -> ProcessFailure:
    file = folder / f"{rank}.json"
    if said:
        file.write_text(json.dumps({"message": said, "timestamp": 10 - rank}), encoding="utf-8")
    return ProcessFailure(local_rank=rank, pid=1, exitcode=exitcode, error_file=str(file))


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ([(1, LOST), (1, "the table is missing")], "the table is missing"),
        ([(-15, None), (-9, None)], "process 1 of 2 was killed, most likely for lack of memory: free some"),
        ([(1, LOST), (-6, None)], "process 1 of 2 was ended by SIGABRT: the same command continues"),
        ([(1, LOST), (3, None)], "process 1 of 2 ended with status 3, its last lines say why: the same command"),
        ([(1, LOST), (1, LOST)], LOST),
    ],
)
def test_the_first_cause_is_told_not_what_followed(ends: list[tuple[int, str | None]], sentence: str, tmp_path: Path):
    failures = {rank: failure(rank, exitcode, tmp_path, said) for rank, (exitcode, said) in enumerate(ends)}
    assert torchrun.reason(failures, 2).startswith(sentence)
