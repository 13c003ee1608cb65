import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from stages.runtime import stopwatch
from stages.runtime.stopwatch import Stopwatch, Timing

TIMING = Timing(wall_s=2.0, cpu_s=3.0, peak_mb=100.0, device="cpu", ended="2026-11-27T05:00:00+00:00")
CHILD = "import time; held = bytearray(300_000_000)\nwhile time.process_time() < 0.5: pass"


def test_time_and_memory_include_child_processes():
    watch = Stopwatch()
    subprocess.run([sys.executable, "-c", CHILD], check=True)
    timing = watch.read()
    assert timing.cpu_s >= 0.5
    assert timing.wall_s >= 0.5
    assert timing.peak_mb > 290


def test_sleep_is_wall_time_but_not_cpu_time():
    watch = Stopwatch()
    time.sleep(0.3)
    timing = watch.read()
    assert timing.wall_s >= 0.3
    assert timing.cpu_s < timing.wall_s


def test_the_device_without_a_gpu_is_the_cpu():
    assert Stopwatch().read().device == "cpu"


@pytest.mark.gpu
def test_the_device_is_the_name_of_the_gpu_in_use():
    import torch

    torch.zeros(1, device="cuda")
    assert Stopwatch().read().device == torch.cuda.get_device_name()


def test_the_last_timing_is_kept_and_damaged_files_count_as_absent(tmp_path):
    folder = tmp_path / "timings"
    assert stopwatch.kept(folder) == {}
    stopwatch.keep(TIMING, "crop@voxceleb1", folder)
    stopwatch.keep(replace(TIMING, wall_s=9.0), "crop@voxceleb1", folder)
    for name, text in {"half": '{"wall_s": 2.0', "other": '{"seconds": 1}', "list": "[1]"}.items():
        (folder / f"{name}.json").write_text(text)
    assert stopwatch.kept(folder) == {"crop@voxceleb1": Timing(**asdict(TIMING) | {"wall_s": 9.0})}
