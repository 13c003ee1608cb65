"""The files of a release, made from a repository whose package and report are up to date."""

import subprocess
from pathlib import Path

import packaged
import pytest
import tiny_repository

from fabnet.modules import model_file
from pipelines import assets
from stages.runtime.errors import UserError

DVC_YAML = """
stages:
  package:
    cmd: cp -r made/. data/packages/fabnet-0
    deps: [made]
    outs: [data/packages/fabnet-0]
  report:
    cmd: cp page data/reports/report.html && cp page data/reports/metrics.parquet
    deps: [page]
    outs: [data/reports/report.html, data/reports/metrics.parquet]
"""


@pytest.fixture
def repository(tmp_path: Path, model: Path) -> Path:
    """Stages of the names that the project's have, which copy what they are to make."""
    root = tmp_path / "project"
    (root / "made").mkdir(parents=True)
    for path in model.iterdir():
        (root / "made" / path.name).write_bytes(path.read_bytes())
    for folder in ("data/packages/fabnet-0", "data/reports"):
        (root / folder).mkdir(parents=True)
    (root / "page").write_text("results", encoding="utf-8")
    (root / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    tiny_repository.dvc(root, "init", "--quiet")
    return root


@pytest.mark.slow
def test_a_release_holds_network_card_report_table_and_their_checksums(repository, model, capsys):
    with pytest.raises(UserError, match=r"model.safetensors is missing: run `make repro` or `dvc pull`$"):
        assets.write(repository)
    tiny_repository.dvc(repository, "repro")
    (repository / "build" / "assets").mkdir(parents=True)
    (repository / "build" / "assets" / "old").touch()
    assets.main([], repository)
    names = ["model.safetensors", "model-card.md", "report.html", "metrics.parquet", "SHA256SUMS"]
    folder = repository / "build" / "assets"
    assert [Path(line.split("  ")[0]).name for line in capsys.readouterr().out.splitlines()] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert (folder / model_file.NAME).read_bytes() == (model / model_file.NAME).read_bytes()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    (repository / "page").write_text("other results", encoding="utf-8")
    with pytest.raises(UserError, match=r"^report should be up to date, found changed code, parameters or data: run"):
        assets.write(repository)


@pytest.mark.slow
def test_a_network_that_saw_a_real_face_is_no_part_of_a_release(repository, model):
    of = packaged.params("fabnet", {"width": 4, "embedding": 6})
    real = of.dataset["aflw"].fetch.model_copy(update={"source": "folder"})
    datasets = of.dataset | {"aflw": of.dataset["aflw"].model_copy(update={"fetch": real})}
    packed = packaged.pack(model.parents[1], of.model_copy(update={"dataset": datasets}), "with_real") / "fabnet-3"
    (repository / "made" / model_file.NAME).write_bytes((packed / model_file.NAME).read_bytes())
    tiny_repository.dvc(repository, "repro")
    with pytest.raises(UserError, match=r"should have seen rendered faces alone, found aflw: the owners' terms apply"):
        assets.write(repository)
