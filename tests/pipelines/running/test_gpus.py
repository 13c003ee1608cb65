import threading
from concurrent.futures import ThreadPoolExecutor

from pipelines.running import gpus
from pipelines.running.gpus import Gpus


def greatest_number_at_a_time(several: Gpus, workers: int) -> tuple[int, set[str]]:
    """How many threads held a device at once, and the devices that were held."""
    lock, held, most, devices = threading.Lock(), 0, 0, set()

    def train(_: int) -> None:
        nonlocal held, most
        with several.one() as environment:
            with lock:
                held += 1
                most = max(most, held)
                devices.add(environment.get("CUDA_VISIBLE_DEVICES", ""))
            threading.Event().wait(0.02)
            with lock:
                held -= 1

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(train, range(3 * workers)))
    return most, devices


def test_two_gpus_train_two_at_a_time_each_on_its_own(monkeypatch):
    monkeypatch.setattr(gpus, "visible", lambda: ["0", "1"])
    most, devices = greatest_number_at_a_time(Gpus(on_cpu=8), 6)
    assert most <= 2
    assert devices == {"0", "1"}


def test_without_a_gpu_the_number_of_stages_at_a_time_is_the_limit(monkeypatch):
    monkeypatch.setattr(gpus, "visible", list)
    most, devices = greatest_number_at_a_time(Gpus(on_cpu=3), 6)
    assert most <= 3
    assert devices == {""}


def test_a_training_that_fails_gives_its_gpu_back(monkeypatch):
    monkeypatch.setattr(gpus, "visible", lambda: ["0"])
    several = Gpus(on_cpu=1)
    for _ in range(3):
        try:
            with several.one() as environment:
                assert environment == {"CUDA_VISIBLE_DEVICES": "0"}
                raise RuntimeError
        except RuntimeError:
            continue


def test_as_many_names_as_torch_sees_devices():
    import torch

    assert len(gpus.visible()) == torch.cuda.device_count()
