from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines import profile
from pipelines.parameters import edits
from stages.runtime import config
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]


def test_using_a_profile_writes_it_and_leaves_an_equal_file_alone(tmp_path):
    target = tmp_path / "params.yaml"
    profile.use("small", ROOT / "profiles", target)
    assert target.read_text(encoding="utf-8") == profile.text("small", ROOT / "profiles")
    before = target.stat().st_mtime_ns
    profile.use("small", ROOT / "profiles", target)
    assert target.stat().st_mtime_ns == before


def test_an_unknown_profile_error_names_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="no profile 'large': expected one of own_videos, paper, sample, small"):
        profile.use("large", ROOT / "profiles", tmp_path / "params.yaml")
    assert not (tmp_path / "params.yaml").exists()


EDITED = ("  epochs: 10\n", "  epochs: 11\n")


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """The sample, with another number of epochs."""
    path = tmp_path / "params.yaml"
    path.write_text(profile.text("sample", ROOT / "profiles").replace(*EDITED), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command in a folder with a params.yaml and the profiles of the project."""
    (params.parent / "profiles").symlink_to(ROOT / "profiles")
    monkeypatch.chdir(params.parent)

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        return Done(profile.main(arguments), *capsys.readouterr())

    return call


@pytest.mark.parametrize("name", ["sample", "study"])
def test_an_edited_file_is_shown_and_not_overwritten(name, params, run):
    before = params.read_bytes()
    line = before.splitlines().index(b"  epochs: 11") + 1
    done = run("use", name)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "--- profile sample", "+++ params.yaml", f"@@ -{line} +{line} @@", "-  epochs: 10", "+  epochs: 11",
    ]  # fmt: skip
    assert done.stderr.startswith("error: params.yaml was edited, as shown above")
    assert "FORCE=1" in done.stderr
    assert params.read_bytes() == before


def test_force_replaces_an_edited_file_and_names_the_copy(params, run):
    before = params.read_bytes()
    done = run("use", "study", "--force")
    assert (done.returncode, done.stderr) == (0, "")
    assert "params.yaml as it was is kept in params.yaml.before\n" in done.stdout
    assert (params.parent / "params.yaml.before").read_bytes() == before
    assert params.read_text(encoding="utf-8") == profile.text("study", ROOT / "profiles")


def test_copies_never_overwrite_each_other_and_the_same_text_is_kept_once(params):
    for epochs in (11, 12, 11):
        params.write_text(params.read_text(encoding="utf-8").replace("epochs: 10", f"epochs: {epochs}"))
        profile.use("sample", ROOT / "profiles", params, force=True)
    copies = {path.name: path.read_text(encoding="utf-8") for path in params.parent.glob("*.before*")}
    assert set(copies) == {"params.yaml.before", "params.yaml.before-2"}
    assert ["epochs: 11" in copies["params.yaml.before"], "epochs: 12" in copies["params.yaml.before-2"]] == [
        True,
        True,
    ]


def test_a_file_without_edits_gives_way_to_another_profile_and_leaves_no_copy(params):
    profile.use("sample", ROOT / "profiles", params, force=True)
    for copy in params.parent.glob("*.before"):
        copy.unlink()
    profile.use("small", ROOT / "profiles", params)
    profile.use("sample", ROOT / "profiles", params)
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("profile: mine\nseed: 1\n", "it names the profile 'mine', which is not in profiles\n"),
        ("seed: [1\n", "it names no profile\n"),
        ("profile: sample\nseed: [1\n", "--- profile sample\n"),
        ("", ""),
    ],
)
def test_a_file_that_is_no_profile_is_kept_too(text, shown, params, run):
    params.write_text(text, encoding="utf-8")
    done = run("use", "sample")
    assert (done.returncode, shown in done.stdout, params.read_text()) == (
        (1, True, text) if text else (0, True, profile.text("sample", ROOT / "profiles"))
    )
    assert run("use", "sample", "--force").returncode == 0
    assert params.read_text(encoding="utf-8") == profile.text("sample", ROOT / "profiles")


def test_without_a_command_the_profiles_are_listed_with_the_one_in_force_and_its_edits(params, run):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "  study      every method on the synthetic release, " in done.stdout
    assert "params.yaml holds the profile 'sample', edited:\n--- profile sample\n" in done.stdout
    assert done.stdout.endswith("-  epochs: 10\n+  epochs: 11\n")
    profile.use("small", ROOT / "profiles", params, force=True)
    assert run().stdout.endswith("params.yaml holds the profile 'small' as it is\n")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("profile: sample", "profile: mine", "it says `profile: mine`"),
        ("profile: sample\n", "", "it does not say which `profile` it is"),
    ],
)
def test_a_file_that_is_of_no_profile_is_told(old, new, sentence, params, run):
    params.write_text(params.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert f"params.yaml is of none of these: {sentence}\n" in run().stdout


def test_without_a_file_the_list_ends_with_how_to_get_one(params, run):
    params.unlink()
    done = run()
    assert done.returncode == 1
    assert "  sample   " in done.stdout
    assert done.stderr == "error: params.yaml is missing: choose a profile with `make profile PROFILE=sample`\n"


@pytest.mark.parametrize("arguments", [(), ("check",)])
def test_methods_and_data_sets_that_were_edited_reach_the_lists_and_nothing_else_changes(arguments, params, run):
    text = params.read_text(encoding="utf-8").replace("- fabnet_sources\n", "# - fabnet_sources\n- pca\n", 1)
    edited = text.replace("- mafl\n", "", 1)
    params.write_text(edited, encoding="utf-8")
    done = run(*arguments)
    assert "params.yaml: `lists` was brought up to date with `methods` and `datasets`\n" in done.stdout
    now = params.read_text(encoding="utf-8")
    assert edits.without_lists(now) == edits.without_lists(edited)
    lists = config.check(params).lists
    assert (lists.pretrained, lists.refined, lists.boxed_sets) == (["fabnet", "pca", "random"], [], ["aflw", "w300"])
    assert "brought up to date" not in run(*arguments).stdout


def test_a_file_without_lists_gets_them(params):
    whole = params.read_text(encoding="utf-8")
    params.write_text(edits.without_lists(whole), encoding="utf-8")
    with pytest.raises(UserError, match=r"has no `lists`: run `make profile`"):
        config.check(params)
    profile.refresh(params)
    assert params.read_text(encoding="utf-8") == whole


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_profile_is_its_base_with_other_values_and_its_own_title(tmp_path):
    base = "# Base.\n# More.\na: 1   # kept\nb: {c: [1, 2], d: x}\n"
    write(tmp_path, base=base, other="# Other.\nbased_on: base\na: 2\nb: {c: [3]}\n")
    assert profile.written("other", tmp_path) == "# Other.\n# More.\na: 2   # kept\nb: {c: [3], d: x}\n"
    assert profile.written("base", tmp_path) == base


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Other.\nbased_on: nothing\n", "no profile 'nothing': expected one of base, other"),
        ("# Other.\nbased_on: base\nc: 1\n", "profile other: c is not among the parameters"),
        ("# Other.\nbased_on: other\na: 2\n", "profile other: based_on should name a whole profile"),
        ("a: [", "profile other is not valid YAML"),
        ("", "profile other should hold sections such as"),
        ("a0: &a0 [0, 0]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)), "at most 100000"),
    ],
)
def test_a_wrong_profile_raises_a_one_line_error(text, message, tmp_path):
    write(tmp_path, base="# Base.\na: 1\n", other=text)
    with pytest.raises(UserError, match=message) as caught:
        profile.written("other", tmp_path)
    assert "\n" not in str(caught.value)
