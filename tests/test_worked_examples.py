"""The worked examples of docs/ run as they are written there: a data set, a method and a probe, each one new file.

Their code blocks are planted into a copy of the project, which then goes from raw files to the report.
"""

import ast
import sys
from pathlib import Path
from typing import Any

import copied_project
import cv2
import numpy as np
import pages
import pyarrow as pa
import pytest
from copied_project import ROOT, merged, run
from media_samples import encoded
from ruamel.yaml import YAML

from stages.runtime import tables

PAGES = {kind: pages.files(ROOT / "docs" / f"adding-a-{kind}.md") for kind in ("data-set", "method", "probe")}
PARAMS = "params.yaml"

# A little synthetic video to train on, and only the page's data set to evaluate on.
SMALL: dict[str, Any] = {
    **copied_project.QUICK,
    "datasets": ["voxceleb1"],
    "methods": ["random"],
    "dataset": {"voxceleb1": {"synthetic": {"identities": 8, "tracks_per_identity": 2, "seconds": 1.0}}},
}
IMAGES = 60
SIDE_PX = 96


def face(number: int) -> np.ndarray:
    """(SIDE_PX, SIDE_PX, 3) BGR: a disc with eyes and a mouth, whose ends point up where the number is odd.

    Every background has patches of its own, so that no face is a near copy of another one.
    """
    rng = np.random.default_rng(number)
    patches = rng.integers(40, 200, (12, 12, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(patches, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST), np.uint8)
    x, y = (SIDE_PX // 2 + rng.integers(-3, 4, 2)).tolist()
    cv2.circle(image, (x, y), 32, (150, 190, 230), -1)
    for side in (-12, 12):
        cv2.circle(image, (x + side, y - 10), 4, (20, 20, 20), -1)
    start = 20 if number % 2 else 200
    cv2.ellipse(image, (x, y + (8 if number % 2 else 22)), (16, 12), 0, start, start + 140, (40, 30, 160), 4)
    return image


def write_release(folder: Path) -> None:
    """Images as the page's data set needs them, and four rows that cannot be used."""
    folder.mkdir(parents=True)
    lines = ["image,x0,y0,x1,y1,smiling"]
    for number in range(IMAGES):
        (folder / f"{number:03d}.png").write_bytes(encoded(face(number), ".png"))
        lines.append(f"{number:03d}.png,14,14,82,82,{number % 2}")
    lines += ["../far.png,0,0,9,9,1", "gone.png,0,0,9,9,1", "000.png,80,14,14,82,0", "001.png,14,14,82,82,maybe"]
    (folder / "faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of the project with everything that the pages add, checked, before anything has run."""
    params = merged(copied_project.parameters("sample"), SMALL)
    for page in PAGES.values():
        params = merged(params, YAML(typ="safe").load(page[PARAMS]))
    folder = copied_project.copy(tmp_path_factory.mktemp("project"), params, ("tests/", "profiles/", "pyproject.toml"))
    for page in PAGES.values():
        for name, text in page.items():
            if name != PARAMS:
                (folder / name).write_text(text, encoding="utf-8")
    write_release(folder / "data" / "releases" / "smiles")
    assert "params.yaml: `lists` was brought up to date" in copied_project.check(folder)
    return folder


@pytest.fixture(scope="module")
def reproduced(project: Path) -> Path:
    run(project, "dvc", "repro")
    return project


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_adds_one_new_file_and_parameters(kind):
    new, params = PAGES[kind]
    assert params == PARAMS
    assert not (ROOT / new).exists()
    assert ast.get_docstring(ast.parse(PAGES[kind][new]))


@pytest.mark.slow
def test_the_parameters_of_the_pages_are_accepted(project: Path):
    assert copied_project.check(project).startswith("params.yaml is complete")


@pytest.mark.slow
def test_the_contract_tests_find_the_new_files_and_pass(project: Path):
    names = [Path(new).stem for new, _ in PAGES.values()]
    options = ["-rp", "-p", "no:cacheprovider", "-k", " or ".join(names)]
    output = run(project, "python", "-m", "pytest", "tests/contracts", *options)
    passed = [line for line in output.splitlines() if line.startswith("PASSED")]
    assert [name for name in names if not any(name in line for line in passed)] == []


@pytest.mark.slow
def test_the_files_of_the_pages_pass_style_and_type_checks(project: Path):
    names = [name for page in PAGES.values() for name in page if name != PARAMS]
    run(project, "ruff", "format", "--check", *names)
    run(project, "ruff", "check", "--no-cache", *names)
    run(project, "pyright", "--pythonpath", sys.executable, *names)


@pytest.mark.slow
def test_the_additions_of_the_pages_are_in_the_graph(project: Path):
    stages = run(project, "dvc", "stage", "list", "--name-only").split()
    assert {"fetch@smiles", "index@smiles", "pretrain@inpainting-0", "embed@inpainting-0", "probe@inpainting-0"} <= set(
        stages
    )


@pytest.mark.slow
def test_the_data_set_becomes_a_table_and_its_bad_rows_rejects(reproduced: Path):
    folder = reproduced / "data" / "faces" / "smiles"
    index = tables.read(folder / "index.parquet", tables.faces_schema({"smiling": pa.int8()}))
    assert index["sample_id"].to_pylist() == [f"{number:03d}.png" for number in range(IMAGES)]
    assert index["smiling"].to_pylist() == [number % 2 for number in range(IMAGES)]
    rejects = tables.read(folder / "rejects.parquet", tables.REJECTS).to_pylist()
    assert [(row["key"], row["kind"]) for row in rejects] == [
        ("../far.png", "unsafe name"), ("000.png", "box is damaged"), ("001.png", "unknown label"),
        ("gone.png", "no such image"),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_method_is_trained_and_is_in_the_report(reproduced: Path):
    history = tables.read(reproduced / "data" / "models" / "inpainting-0" / "history.parquet", tables.HISTORY)
    assert {"loss", "grey"} <= set(history["metric"].to_pylist())
    page = (reproduced / "data" / "reports" / "report.html").read_text(encoding="utf-8")
    assert '<th scope="col" class="n">inpainting</th>' in page


@pytest.mark.slow
def test_data_set_method_and_probe_are_in_the_metrics(reproduced: Path):
    rows = tables.read(reproduced / "data" / "reports" / "metrics.parquet", tables.METRICS).to_pylist()
    of_smiles = {(row["method"], row["task"], row["metric"]) for row in rows if row["dataset"] == "smiles"}
    assert of_smiles == {
        (method, task, metric)
        for method in ("inpainting", "random")
        for task in ("smiling", "nearest_mean")
        for metric in ("accuracy", "auc")
    }


@pytest.mark.slow
def test_the_new_probe_separates_smiles_from_other_faces(reproduced: Path):
    rows = tables.read(reproduced / "data" / "metrics" / "random-0" / "metrics.parquet", tables.SCORES).to_pylist()
    found = {row["target"]: row["value"] for row in rows if row["task"] == "nearest_mean" and row["metric"] == "auc"}
    assert found["mean"] > 0.7
