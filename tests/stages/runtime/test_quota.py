import math
from pathlib import Path

import pytest
from releases import put

from stages.runtime import quota, workers

OWN = {"v2": "0::/\n", "v1": "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n"}
PLACES = {"v2": "sys/fs/cgroup", "v1": "sys/fs/cgroup/cpu,cpuacct"}


def limit(system: Path, version: str, microseconds: str, place: str = "") -> None:
    folder = system / PLACES[version] / place
    if version == "v2":
        put(folder / "cpu.max", f"{microseconds} 100000\n")
    else:
        put(folder / "cpu.cfs_quota_us", f"{microseconds}\n".replace("max", "-1"))
        put(folder / "cpu.cfs_period_us", "100000\n")


@pytest.mark.parametrize("version", OWN)
@pytest.mark.parametrize(("microseconds", "cpus"), [("150000", 1.5), ("400000", 4.0), ("max", math.inf)])
def test_the_quota_of_a_container_is_its_time_by_its_period(tmp_path, version, microseconds, cpus):
    put(tmp_path / "proc/self/cgroup", OWN[version])
    limit(tmp_path, version, microseconds)
    assert quota.cpus(tmp_path) == cpus


def test_the_least_of_all_levels_counts(tmp_path):
    put(tmp_path / "proc/self/cgroup", "0::/jobs/7/step\n")
    for place, microseconds in {"jobs": "800000", "jobs/7": "200000", "jobs/7/step": "max", "others": "100000"}.items():
        limit(tmp_path, "v2", microseconds, place)
    assert quota.cpus(tmp_path) == 2


@pytest.mark.parametrize("content", ["", "nonsense", "100000 0\n", "-1 100000\n"])
def test_what_is_no_quota_limits_nothing(tmp_path, content):
    assert quota.cpus(tmp_path) == math.inf
    put(tmp_path / "proc/self/cgroup", "0::/../../elsewhere\n")
    put(tmp_path / "sys/fs/cgroup/cpu.max", content)
    assert quota.cpus(tmp_path) == math.inf


@pytest.mark.parametrize(("cpus", "cores"), [(0.3, 1), (1.0, 1), (1.5, 2)])
def test_no_more_cores_are_used_than_the_quota_keeps_busy(monkeypatch, cpus, cores):
    monkeypatch.setattr(quota, "cpus", lambda: cpus)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    assert workers.available() == cores


def test_threads_of_pytorch_keep_to_the_quota(monkeypatch):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(quota, "cpus", lambda: 1.0)
        workers.keep_threads()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
