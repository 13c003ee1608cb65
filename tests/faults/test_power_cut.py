"""The disk of a run, copied in mid-run as a power cut leaves it: the stage runs there to the same bytes."""

import shutil
from functools import partial

import disks
import kills
import numpy as np
import pytest
from kills import Kill
from small_stages import SMALL

CUTS = 6  # of each stage


@pytest.mark.torture
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SMALL)
def test_after_a_power_cut_the_next_run_makes_the_same_bytes(name, whole, tally, tmp_path):
    if why := disks.refused():
        pytest.skip(why)
    of, place, image = whole(name), tmp_path / "disk", tmp_path / "image"
    left = image.with_name("left")
    tally.stages.add(name)
    for after_s in np.random.default_rng([2018, *name.encode()]).uniform(0.1, of.seconds, CUTS):
        left.unlink(missing_ok=True)
        with disks.mounted(place, disks.make_image(image)):
            work = kills.fresh(place / "work")
            cut = partial(shutil.copyfile, image, left)
            kills.run(name, of.inputs, work, kill=Kill(after_s=float(after_s)), stopped=cut)
        if not left.exists():
            continue
        tally.power_cuts += 1
        with disks.mounted(place, left):
            for out, content in kills.outs(name, work).items():
                if content != of.outs[out]:
                    tally.find("partial files", f"{name}, without power after {after_s:.2f} s: {out}")
            work.mkdir(exist_ok=True)
            ended = kills.run(name, of.inputs, work)
            if ended.status != 0:
                tally.find("other findings", f"{name}, without power after {after_s:.2f} s: {ended.errors[-300:]}")
            if kills.outs(name, work) != of.outs:
                tally.find("differences", f"{name}, without power after {after_s:.2f} s")
