"""A disk that refuses: a stage says one sentence, leaves nothing partial under its name, and the next run goes on."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import disks
import kills
import pytest
import tiny_repository
from kills import Ended, Kill, Whole
from small_stages import SMALL

from stages.runtime import command

EVERY = pytest.mark.parametrize("name", SMALL)
HOUR_S = 3600
# A file that a stage reads; the disk fails where it lies.
READ = {
    "crop": "raw/dense-face-frames.tar.gz",
    "track": "raw/ann/1.mp4",
    "detect": "raw/Manually_Annotated_Images/0/0.jpg",
    "index": "raw/afw/0.jpg",
    "split": "tracks/voxceleb1/index.parquet",
    "measure": "tracks/voxceleb1/00000.tar",
    "pretrain": "tracks/voxceleb1/00000.tar",
    "refine": "models/fabnet-0/model.safetensors",
    "embed": "faces/mafl/00000.tar",
    "probe": "embeddings/random-3/mafl.parquet",
    "perturb": "raw/w300/ibug/07.jpg",
    "package": "metrics/random-3/heads/mafl.landmarks.safetensors",
    "illustrate": "faces/affectnet/00000.tar",
    "report": "metrics/random-0/metrics.parquet",
}

pytestmark = [pytest.mark.torture, pytest.mark.timeout(0)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk in memory."""
    if why := disks.refused():
        pytest.skip(why)
    with disks.mounted(tmp_path / "disk") as place:
        yield place


def says(ended: Ended, number: int) -> None:
    """It ends with one sentence on the error of the disk."""
    assert ended.status == 1, ended
    assert "Traceback" not in ended.errors
    last = ended.errors.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.endswith(command.DISK[number]), last


def goes_on(name: str, of: Whole, work: Path) -> None:
    ended = kills.run(name, of.inputs, work)
    assert ended.status == 0, ended
    assert kills.outs(name, work) == of.outs
    assert kills.names(work) == of.names


@EVERY
def test_on_a_full_disk_nothing_partial_is_left_and_the_next_run_goes_on(name, whole, disk):
    of = whole(name)
    needed = sum(len(data) for files in of.outs.values() for data in files.values())
    for share in (0.0, 0.5, 0.9):
        work = kills.fresh(disk / "work")
        with disks.full(disk, int(share * needed)):
            ended = kills.run(name, of.inputs, work)
            assert kills.outs(name, work) == {}
        if name != "check":  # which looks how much is free
            says(ended, errno.ENOSPC)
        goes_on(name, of, work)


@EVERY
def test_on_a_disk_that_is_read_only_from_some_moment_on_the_next_run_goes_on(name, whole, disk):
    of, work = whole(name), kills.fresh(disk / "work")
    kills.run(name, of.inputs, work, kill=Kill(at=of.operations // 2))
    disks.set_writable(disk, is_writable=False)
    says(kills.run(name, of.inputs, work), errno.EROFS)
    disks.set_writable(disk, is_writable=True)
    goes_on(name, of, work)


@EVERY
def test_a_folder_that_may_not_be_written_is_named(name, whole, tmp_path):
    of, work = whole(name), kills.fresh(tmp_path / "work")
    work.chmod(0o555)
    ended = kills.run(name, of.inputs, work, before=disks.as_anyone)
    work.chmod(0o755)
    says(ended, errno.EACCES)
    assert str(work) in ended.errors
    goes_on(name, of, work)


@EVERY
@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EIO])
def test_when_no_file_can_be_made_from_some_moment_on_the_next_run_goes_on(name, number, whole, tmp_path):
    of = whole(name)
    for share in (0.0, 0.3, 0.6, 1.0):
        work, at = kills.fresh(tmp_path / "work"), of.makes[int(share * (len(of.makes) - 1))]
        says(kills.run(name, of.inputs, work, kill=Kill(at=at, error=number)), number)
        assert kills.outs(name, work).items() <= of.outs.items()
        goes_on(name, of, work)


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"fetch"}))
def test_a_disk_without_links_gives_the_same_bytes(name, whole, tmp_path):
    of, work = whole(name), kills.fresh(tmp_path / "work")
    ended = kills.run(name, of.inputs, work, before=disks.without_links)
    assert ended.status == 0, ended
    assert kills.outs(name, work) == of.outs


def test_a_release_cannot_be_brought_to_a_disk_without_links_and_the_next_run_goes_on(whole, tmp_path):
    of, work = whole("fetch"), kills.fresh(tmp_path / "work")
    ended = kills.run("fetch", of.inputs, work, before=disks.without_links)
    assert ended.status == 1
    assert ended.errors.endswith("move the release or data/raw\n")
    goes_on("fetch", of, work)


def test_dvc_stores_results_on_a_disk_without_links(tmp_path):
    tiny_repository.make(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=tmp_path, preexec_fn=disks.without_links, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "report.html").stat().st_nlink == 1


@EVERY
def test_outputs_on_another_disk_than_the_journal_have_the_same_bytes(name, whole, disk, tmp_path):
    of, work = whole(name), kills.fresh(tmp_path / "work")
    for top in {Path(out).parts[0] for out in SMALL[name].outs if "/" in out}:
        (disk / top).mkdir()
        (work / top).symlink_to(disk / top)
    kills.run(name, of.inputs, work, kill=Kill(at=of.operations // 2))
    ended = kills.run(name, of.inputs, work)
    assert ended.status == 0, ended
    assert kills.outs(name, work) == of.outs
    assert kills.names(disk) <= of.names


@pytest.mark.parametrize("name", READ)
def test_a_file_that_the_disk_cannot_read_is_named(name, tmp_path):
    if why := disks.refused():
        pytest.skip(why)
    place, work = tmp_path / "disk", kills.fresh(tmp_path / "work")
    image = disks.make_image(tmp_path / "image", "-O", disks.PLAIN)
    with disks.mounted(place, image):
        of = kills.whole(name, place)
        assert (of.inputs / READ[name]).is_file()
    healthy = image.with_name("healthy")
    os.link(image, healthy)
    image.unlink()
    image.write_bytes(healthy.read_bytes())
    disks.move_out_of_reach(image, f"/inputs/{READ[name]}")
    with disks.broken(place, image):
        says(kills.run(name, of.inputs, work), errno.EIO)
        assert kills.outs(name, work) == {}
    with disks.mounted(place, healthy):
        goes_on(name, of, work)


def clock_jumps(back_s: float) -> None:
    """From the third time on that somebody asks for it, the time is an earlier one."""
    asked, now = 0, time.time

    def told() -> float:
        nonlocal asked
        asked += 1
        return now() - (back_s if asked > 2 else 0)

    time.time = told


@EVERY
def test_a_clock_that_jumps_back_changes_nothing(name, whole, tmp_path):
    of, work = whole(name), kills.fresh(tmp_path / "work")
    back = partial(clock_jumps, HOUR_S)
    kills.run(name, of.inputs, work, kill=Kill(at=of.operations * 2 // 3), before=back)
    later = time.time() + HOUR_S
    for path in (work, *work.rglob("*")):
        os.utime(path, (later, later), follow_symlinks=False)
    assert kills.run(name, of.inputs, work, before=back).status == 0
    assert kills.outs(name, work) == of.outs
    assert kills.names(work) == of.names
