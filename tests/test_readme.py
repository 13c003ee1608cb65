import json
from pathlib import Path

import pytest

from pipelines import profile, readme
from stages.evaluation import scores
from stages.runtime import config
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[1]


def numbers() -> str:
    found = readme.BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found, "README.md has lost the markers around its numbers"
    return found.group()


def test_the_readme_shows_the_numbers_of_the_committed_report():
    reported = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "data" / "reports" / "metrics").iterdir()
    }
    configured = config.parsed(profile.text("sample", ROOT / "profiles"), "sample").dataset
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in numbers().splitlines() if "|" in line]
    header, rows = [name.strip("`") for name in lines[0]], lines[2:]
    metrics = {scores.axis(name): name for name in scores.METRICS}
    shown = {
        (method, row[0], row[1], metrics[row[2]]): row[header.index(method)].split()[0]
        for row in rows
        for method in header[3:-1]
    }
    expected = {
        (method, dataset, task, metric): scores.number(metric, value)
        for method, datasets in reported.items()
        for dataset, tasks in datasets.items()
        for task, value in tasks.items()
        for metric in (configured[dataset].tasks[task].metrics[0] if task != scores.IDENTITY else scores.IDENTITY,)
    }
    assert {key: shown.get(key) for key in expected} == expected
    assert sorted(reported) == sorted(header[3:-1])


@pytest.mark.parametrize("count", range(len(readme.FIGURES) + 1))
def test_without_a_report_the_readme_is_unchanged_and_the_error_says_why(count, tmp_path):
    (tmp_path / "README.md").write_text("as it was")
    for figure in list(readme.FIGURES)[:count]:
        (tmp_path / "data" / figure).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / figure).write_bytes(b"figure")
    with pytest.raises(UserError, match="is missing: run"):
        readme.rewrite(tmp_path, tmp_path / "data")
    assert (tmp_path / "README.md").read_text() == "as it was"
