from pathlib import Path

import pytest

from stages.runtime import workers
from stages.synthetic.renderer import parallel

JOBS = list(range(5))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished jobs of a rendering."""
    monkeypatch.setattr(workers, "available", lambda: 1)
    assert rendered(tmp_path)[0] == ["0", "1", "2", "3", "4"]
    return tmp_path / "people"


def rendered(folder: Path) -> tuple[list[str], list[int]]:
    """The results, and the jobs that were done for them."""
    done: list[int] = []

    def render(job: int) -> str:
        done.append(job)
        return str(job)

    with parallel.keeping(folder):
        return list(parallel.render_all(render, JOBS, "people")), done


def test_finished_jobs_are_not_done_again(kept: Path):
    assert rendered(kept.parent) == (["0", "1", "2", "3", "4"], [])


def test_after_a_gap_all_jobs_are_done_again(kept: Path):
    (kept / "00000002").unlink()
    assert rendered(kept.parent) == (["0", "1", "2", "3", "4"], [2, 3, 4])


@pytest.mark.parametrize("size", [0, 3])
def test_after_a_damaged_file_all_jobs_are_done_again(kept: Path, size: int):
    path = kept / "00000003"
    path.write_bytes(path.read_bytes()[:size])
    assert rendered(kept.parent) == (["0", "1", "2", "3", "4"], [3, 4])
