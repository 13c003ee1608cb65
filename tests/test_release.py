"""A release has one version and one date, wherever they stand."""

import re
import tomllib
from datetime import date
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
CITATION = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", CHANGELOG, flags=re.MULTILINE))


def test_the_citation_names_the_version_and_date_of_the_newest_section_of_the_changelog():
    assert CITATION["version"] == VERSION == next(iter(SECTIONS))
    assert str(CITATION["date-released"]) == SECTIONS[VERSION]


def test_sections_of_the_changelog_go_back_in_time():
    titles = re.findall(r"^## (.*)$", CHANGELOG, flags=re.MULTILINE)
    assert [title for title in titles if title != "Unreleased"] == [f"{v} - {day}" for v, day in SECTIONS.items()]
    days = [date.fromisoformat(day) for day in SECTIONS.values()]
    assert days == sorted(days, reverse=True)


def test_kinds_of_changes_have_one_name_each():
    kinds = re.findall(r"^### (.*)$", CHANGELOG, flags=re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Fixed", "Removed", "Results changed"}


def test_changed_results_name_the_configuration_of_the_readme_s_numbers():
    (configuration,) = re.findall(r"configuration `([0-9a-f]{12})`", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert f"Configuration `{configuration}`" in CHANGELOG.partition("### Results changed")[2]
