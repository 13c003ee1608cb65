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
    matrix: {method: [fabnet, random], seed: [10, 2]}
    cmd: cp -r made/. data/packages/${item.method}-${item.seed}
    deps: [made]
    outs: ["data/packages/${item.method}-${item.seed}"]
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
    for folder in ("packages/fabnet-2", "packages/fabnet-10", "packages/random-2", "packages/random-10", "reports"):
        (root / "data" / folder).mkdir(parents=True)
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
    (repository / "made" / "README.md").write_text("another card", encoding="utf-8")
    with pytest.raises(UserError, match=r"^package@fabnet-2 and report should be up to date, found changed code"):
        assets.write(repository)


@pytest.mark.slow
def test_a_network_of_another_seed_that_is_left_is_not_taken(repository):
    (repository / "data" / "packages" / "fabnet-0").mkdir()
    with pytest.raises(UserError, match=r"fabnet-2/model.safetensors is missing"):
        assets.write(repository)


def test_without_fabnet_among_the_methods_there_is_nothing_to_release(repository):
    text = DVC_YAML.replace("[fabnet, random]", "[random]")
    (repository / "dvc.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"^`methods` should name fabnet"):
        assets.write(repository)


@pytest.mark.slow
def test_a_network_that_saw_a_real_face_is_no_part_of_a_release(repository, model):
    of = packaged.params("fabnet", {"width": 4, "embedding": 6})
    real = of.dataset["aflw"].fetch.model_copy(update={"source": "folder"})
    datasets = of.dataset | {"aflw": of.dataset["aflw"].model_copy(update={"fetch": real})}
    packed = packaged.pack(model.parents[1], of.model_copy(update={"dataset": datasets}), "with_real")
    (repository / "made" / model_file.NAME).write_bytes((packed / model_file.NAME).read_bytes())
    tiny_repository.dvc(repository, "repro")
    with pytest.raises(UserError, match=r"should have seen rendered faces alone, found aflw: the owners' terms apply"):
        assets.write(repository)
