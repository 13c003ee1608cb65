"""A stage that may not write what it has to: one sentence, nothing partial under its name, and the next run goes on."""

import resource
from functools import partial

import kills
import pytest
from small_stages import SMALL

MOST_BYTES = {"fetch": 200, "split": 200, "embed": 200}  # others write more
SENTENCE = "error: a file would be larger than this disk or `ulimit -f` allows; use another disk or raise the limit\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_stage_that_cannot_write_says_one_sentence_and_leaves_nothing_partial(name, tmp_path):
    inputs, work = kills.fresh(tmp_path / "inputs"), kills.fresh(tmp_path / "work")
    SMALL[name].prepare(inputs)
    most = MOST_BYTES.get(name, 3000)
    ended = kills.run(name, inputs, work, before=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most)))
    assert ended.status == 1
    assert ended.errors.endswith(SENTENCE)
    assert "Traceback" not in ended.errors
    assert kills.outs(name, work) == {}
    assert kills.run(name, inputs, work).status == 0
    assert set(kills.outs(name, work)) == set(SMALL[name].outs)
