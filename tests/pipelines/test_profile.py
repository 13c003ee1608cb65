from pathlib import Path

import pytest

from pipelines import profile
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
    with pytest.raises(UserError, match="no profile 'large': expected one of paper, sample, small"):
        profile.use("large", ROOT / "profiles", tmp_path / "params.yaml")
    assert not (tmp_path / "params.yaml").exists()


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
        ("", "profile other is not valid YAML"),
    ],
)
def test_a_wrong_profile_raises_a_one_line_error(text, message, tmp_path):
    write(tmp_path, base="# Base.\na: 1\n", other=text)
    with pytest.raises(UserError, match=message) as caught:
        profile.written("other", tmp_path)
    assert "\n" not in str(caught.value)
