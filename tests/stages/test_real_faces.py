"""Releases with real faces in the layouts of their owners: one folder each in FABNET_REAL_FACES, skipped if unset."""

import os
from pathlib import Path

import pytest
from releases import bring

from stages import crop, detect, index
from stages.runtime import tables
from stages.runtime.config import load

ROOT = Path(__file__).parents[2]
REAL_FACES = os.environ.get("FABNET_REAL_FACES", "")
RELEASES = {name: name for name in ("affectnet", "aflw", "emotionet", "voxceleb1", "voxceleb2")} | {"w300": "300w"}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not REAL_FACES, reason="FABNET_REAL_FACES is not set")]


@pytest.mark.parametrize(
    ("dataset", "least"),
    [("voxceleb1", 3000), ("voxceleb2", 1900), ("w300", 950), ("affectnet", 1500), ("aflw", 43), ("emotionet", 550)],
)
def test_most_faces_of_every_layout_are_packed(tmp_path, dataset, least):
    raw = bring(dataset, Path(REAL_FACES, RELEASES[dataset]), tmp_path / "raw")
    params, out = load(ROOT / "params.yaml"), tmp_path / "out"
    places = {
        "dataset": dataset,
        "raw": raw,
        "out": out,
        "sheets": tmp_path / "sheets",
        "journal": tmp_path / "journal",
    }
    geometry = params.dataset[dataset].crop
    if geometry is not None:
        crop.run(**places, crop=params.crop, geometry=geometry)
    elif (box := params.dataset[dataset].index) is not None:
        index.run(**places, index=params.index, box=box)
    else:
        detect.run(**places, detect=params.detect)
    assert tables.read(out / "index.parquet").num_rows >= least
