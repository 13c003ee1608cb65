import sys

import pytest

from pipelines import offline_plots
from stages.runtime.errors import UserError


def test_without_vega_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match=r"Vega is missing: run `pip install -c constraints.txt -e '.\[plots\]'`"):
        offline_plots.main(tmp_path)
    assert list(tmp_path.iterdir()) == []
