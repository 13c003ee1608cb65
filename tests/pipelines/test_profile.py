from pathlib import Path

import pytest

from pipelines import profile
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]


def test_choosing_a_profile_copies_it_and_leaves_an_equal_file_alone(tmp_path):
    target = tmp_path / "params.yaml"
    profile.use_profile("small", ROOT / "profiles", target)
    assert target.read_bytes() == (ROOT / "profiles" / "small.yaml").read_bytes()
    before = target.stat().st_mtime_ns
    profile.use_profile("small", ROOT / "profiles", target)
    assert target.stat().st_mtime_ns == before


def test_an_unknown_profile_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="no profile 'large': expected one of paper, sample, small"):
        profile.use_profile("large", ROOT / "profiles", tmp_path / "params.yaml")
    assert not (tmp_path / "params.yaml").exists()
