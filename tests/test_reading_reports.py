"""What docs/reading-reports.md says about tables runs, and answers with the columns that it shows."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from report_samples import parameters, run, write_inputs

PAGE = Path(__file__).parents[1] / "docs" / "reading-reports.md"
ANSWERED = re.compile(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project") / "data"
    params = parameters(methods=["fabnet", "fabnet_sources", "random"])
    write_inputs(root, params)
    return run(root, params).parents[1]


def test_every_snippet_answers_with_the_columns_that_the_page_shows(folder, monkeypatch):
    monkeypatch.chdir(folder)
    text = PAGE.read_text(encoding="utf-8")
    found = ANSWERED.findall(text)
    assert len(found) == text.count("```python") == 4
    names: dict[str, object] = {}
    for code, shown in found:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, names)
        answer = said.getvalue().splitlines()
        if len(answer) > 1:
            assert answer[0].split() == shown.splitlines()[0].split()
        assert len(answer[0].split()) == len(shown.splitlines()[0].split())
