import shutil
from importlib import metadata

import pytest
import tiny_repository
from releases import bring, put, voxceleb1

from pipelines import doctor, profile
from pipelines.dvc import cut_short, graph
from pipelines.running import surroundings
from stages.readiness import precision
from stages.runtime.errors import UserError

ROOT = tiny_repository.ROOT


def test_this_installation_has_nothing_wrong_with_its_packages():
    (finding,) = doctor.packages(ROOT / "constraints.txt")
    assert finding.problem == ""
    assert "torch 2." in finding.value


def test_a_package_that_departs_from_its_pin_is_named(tmp_path):
    (tmp_path / "constraints.txt").write_text("# pins\nnumpy==1.0\ntorch==2.13.0\nnever-installed==3\n")
    (finding,) = doctor.packages(tmp_path / "constraints.txt")
    assert "is not the pinned one" in finding.problem
    assert "numpy" in finding.problem
    assert "never-installed" not in finding.problem


def test_dlib_is_shown_by_the_name_it_was_installed_under_and_twice_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "constraints.txt").write_text("numpy>=2\n")
    (finding,) = doctor.packages(tmp_path / "constraints.txt")
    (name,) = metadata.packages_distributions()["_dlib_pybind11"]
    assert f"{name} {metadata.version(name)}" in finding.value
    assert finding.problem == ""
    for other in doctor.DLIB:
        folder = tmp_path / f"{other.replace('-', '_')}-20.0.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {other}\nVersion: 20.0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = doctor.packages(tmp_path / "constraints.txt")
    assert finding.problem.startswith("dlib-bin and dlib are both installed: remove .venv/.installed and run")


def test_a_pin_for_another_platform_does_not_count(tmp_path):
    (tmp_path / "constraints.txt").write_text("numpy==1.0; platform_machine == 'none'\n")
    (finding,) = doctor.packages(tmp_path / "constraints.txt")
    assert finding.problem == ""


def test_a_copying_cache_is_a_problem(tiny):
    (cache, remote) = doctor.dvc(tiny)
    assert (cache.value, cache.problem) == ("hardlink, symlink, copy", "")
    assert remote.value.startswith("none")
    tiny_repository.dvc(tiny, "config", "cache.type", "copy")
    assert "twice" in next(iter(doctor.dvc(tiny))).problem


CUT = [
    ("", ".dvc/tmp/rwlock"),
    ('{"write": {"/a": {"pid": 1', ".dvc/tmp/rwlock"),
    ("[]", ".dvc/tmp/rwlock"),
    ("", "dvc.lock"),
    ("schema: '2.0'\nstages:\n  copy:\n    cmd: cp a b\n    deps:", "dvc.lock"),
]
WAYS_OUT = {
    ".dvc/tmp/rwlock": "if no other run uses this folder, `rm {path}`",
    "dvc.lock": "`git checkout {path}`, or `rm {path}` if it was never committed",
}


@pytest.mark.parametrize(("content", "name"), CUT)
def test_a_file_of_dvc_that_was_cut_short_is_a_problem_with_its_way_out(tiny, content, name, monkeypatch):
    monkeypatch.setattr(cut_short, "WAIT_S", 0.0)
    path = tiny / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    (problem,) = [finding.problem for finding in doctor.dvc(tiny) if finding.problem]
    way_out = WAYS_OUT[name].format(path=path)
    assert f"{path} was cut short when a run was killed: {way_out}" in problem
    with pytest.raises(UserError, match="was cut short when a run was killed"):  # `make flow`
        graph.changed(tiny)
    with pytest.raises(UserError, match="was cut short when a run was killed"):  # `make repro`
        profile.check(tiny / "params.yaml")
    if name == "dvc.lock":
        with pytest.raises(UserError, match="was cut short when a run was killed"):  # the flow in Python
            graph.ordered(tiny)
    path.unlink()
    assert graph.changed(tiny)


def test_a_folder_without_dvc_is_a_problem_and_one_without_git_is_none(tmp_path):
    (finding,) = doctor.dvc(tmp_path)
    assert finding.problem.startswith("DVC cannot read the pipeline")
    finding = doctor.git(tmp_path)
    assert (finding.value.partition(":")[0], finding.problem) == ("no repository", "")


def test_uncommitted_changes_are_counted(tiny):
    assert "no commit yet" in doctor.git(tiny).value
    assert "uncommitted" in doctor.git(tiny).value


def test_a_folder_that_git_refuses_is_a_problem(tiny, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    finding = doctor.git(tiny)
    assert finding.value == "no revision"
    assert finding.problem.startswith("git refuses this folder")
    assert f"safe.directory '{tiny}'" in finding.problem


def test_a_uid_without_a_name_is_a_problem_and_does_not_stop_the_examination(tiny, without_a_name):
    assert doctor.user() == doctor.Finding("user", f"uid {without_a_name}", surroundings.nameless())
    assert "export USER=me" in surroundings.nameless()
    assert [finding.topic for finding in doctor.dvc(tiny)] == ["dvc cache", "dvc remote"]
    assert doctor.user() == doctor.Finding("user", str(without_a_name))


def test_a_user_without_a_home_is_a_problem(tiny, without_a_name, monkeypatch):
    monkeypatch.delenv("HOME")
    (finding,) = doctor.dvc(tiny)
    assert finding.problem == surroundings.HOME


@pytest.fixture
def unpacked(tmp_path):
    """The graph of the project without git, as in an unpacked archive."""
    tiny_repository.dvc(tmp_path, "init", "--quiet", "--no-scm")
    for name in (".dvc/config", "dvc.yaml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    tiny_repository.dvc(tmp_path, "config", "--local", "core.no_scm", "true")
    profile.use("small", ROOT / "profiles", tmp_path / "params.yaml")
    return tmp_path


def test_every_release_that_is_not_there_is_a_problem(unpacked):
    voxceleb1(unpacked / "data" / "releases" / "voxceleb1", {"a": b"b"}, ["Ann"])
    problems = {finding.topic: finding.problem for finding in doctor.needs(unpacked) if finding.problem}
    assert set(problems) == {"aflw", "affectnet", "emotionet", "voxceleb2", "w300"}
    assert "data/releases/300w is not a folder: put or link the w300 release there" in problems["w300"]


def test_a_release_that_was_fetched_is_no_problem(unpacked):
    source = voxceleb1(unpacked / "voxceleb1", {"a": b"b"}, ["Ann"])
    bring("voxceleb1", source, unpacked / "data" / "raw" / "voxceleb1")
    assert "voxceleb1" not in {finding.topic for finding in doctor.needs(unpacked)}


def test_videos_of_ones_own_are_looked_for_like_any_release(unpacked):
    profile.use("own_videos", ROOT / "profiles", unpacked / "params.yaml")
    assert {finding.topic for finding in doctor.needs(unpacked) if finding.problem} == {"own_videos"}
    put(unpacked / "data" / "releases" / "own_videos" / "anna" / "a.mp4", b"video")
    assert [finding.topic for finding in doctor.needs(unpacked)] == ["parameters"]


def test_a_wrong_parameter_is_a_problem(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: seven\n")
    (finding,) = doctor.needs(tmp_path)
    assert "params.yaml" in finding.problem


def test_a_precision_that_is_slow_here_is_a_problem(unpacked, monkeypatch):
    text = profile.text("sample", ROOT / "profiles")
    (unpacked / "params.yaml").write_text(text.replace("precision: float32", "precision: bfloat16"))
    monkeypatch.setattr(precision, "slow", lambda pretrain: f"{pretrain.precision} is slow")
    assert doctor.Finding("pretrain", "slow", "bfloat16 is slow") in list(doctor.needs(unpacked))


@pytest.mark.parametrize(("cache", "last"), [("hardlink", "nothing is wrong"), ("copy", "1 problem")])
def test_problems_are_counted_and_a_folder_without_git_has_none(unpacked, monkeypatch, capsys, cache, last):
    profile.use("sample", ROOT / "profiles", unpacked / "params.yaml")
    tiny_repository.dvc(unpacked, "config", "cache.type", cache)
    monkeypatch.chdir(unpacked)
    assert doctor.main() == (cache == "copy")
    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.slow
def test_the_command_shows_every_topic(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    doctor.main()
    shown = capsys.readouterr().out
    for topic in (
        "python",
        "packages",
        "device",
        "workers",
        "free disk",
        "dvc cache",
        "dvc remote",
        "git",
        "parameters",
    ):
        assert f"\n{topic}" in f"\n{shown}"
