import base64

import cv2
import numpy as np

from pipelines.flows import artifacts


def test_png_files_are_found_in_files_and_folders(tmp_path):
    (tmp_path / "roc_pr").mkdir()
    for name in ("summary.png", "roc_pr/aflw.png", "report.html"):
        (tmp_path / name).write_bytes(b"")
    outs = [tmp_path / "summary.png", tmp_path / "roc_pr", tmp_path / "report.html", tmp_path / "missing.png"]
    assert {path.name for path in artifacts.png_files(outs)} == {"summary.png", "aflw.png"}


def test_a_figure_is_shown_as_a_small_image_of_itself(tmp_path):
    cv2.imwrite(str(tmp_path / "warp.png"), np.full((100, 2200, 3), 90, np.uint8))
    head, data = artifacts.markdown(tmp_path / "warp.png").rstrip(")").split("base64,")
    assert head == "## warp\n\n![warp](data:image/jpeg;"
    assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).shape == (50, 1100, 3)


def test_a_damaged_figure_is_a_user_error(tmp_path):
    (tmp_path / "warp.png").write_bytes(b"cut off")
    assert "is not an image" in artifacts.markdown(tmp_path / "warp.png")
