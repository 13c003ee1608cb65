"""The page about the model file says what is so."""

import re
from pathlib import Path

import numpy as np
import packaged
import pytest

from fabnet.pretext import fabnet as single

PAGE = (Path(__file__).parents[1] / "docs" / "model-file.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "data" / "packages").mkdir(parents=True)
    made = packaged.make(tmp_path / "tree", single, {"width": 4, "embedding": 6})
    made.rename(tmp_path / "data" / "packages" / "fabnet-0")
    monkeypatch.chdir(tmp_path)
    known = {"faces": np.zeros((3, 40, 40, 3), np.uint8)}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, known)
    assert capsys.readouterr().out.splitlines() == ["('roll', 'pitch', 'yaw')", "dlib_hog 256"]
    assert known["frames"].shape == (3, 32, 32, 3)
    for name in known["attributes"]:
        assert f"| `{name}` |" in PAGE
