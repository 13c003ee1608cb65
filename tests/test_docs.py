"""Links, file names and commands on the pages of documentation exist."""

import importlib.util
import re
from pathlib import Path

import pytest

from pipelines import profile
from stages.report import PUBLISHED
from stages.runtime import config, plugins

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("stages", "fabnet", "pipelines", "tests", "benchmarks", "profiles", "docs")
FILE = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w/.-]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)")
MODULE = re.compile(r"python -m ((?:stages|pipelines)\.\w+(?:\.\w+)*)")
TARGET = re.compile(r"`make (\w+)|^make (\w+)", re.MULTILINE)
EXAMPLES = {"smiles", "inpainting", "nearest_mean"}  # of the pages that add something; a test plants them

each = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@each
def test_every_link_leads_to_a_file(page: Path):
    links = [link for link in LINK.findall(text(page)) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@each
def test_every_named_file_of_the_project_is_there(page: Path):
    named = [name for name in FILE.findall(text(page)) if Path(name).stem not in EXAMPLES]
    assert [name for name in named if not (ROOT / name).exists()] == []


@each
def test_every_module_that_is_run_exists(page: Path):
    assert [name for name in MODULE.findall(text(page)) if importlib.util.find_spec(name) is None] == []


@each
def test_every_make_target_exists(page: Path):
    there = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {first or second for first, second in TARGET.findall(text(page))} <= there


@pytest.mark.parametrize("package", ["fabnet.pretext", "stages.datasets"])
def test_the_readme_names_every_method_and_the_data_card_every_data_set(package: str):
    page = text(ROOT / ("README.md" if package == "fabnet.pretext" else "data/README.md"))
    assert [name for name in plugins.names(package) if f"`{name}`" not in page] == []


def test_deviations_give_the_published_values_that_the_report_compares_with():
    page = text(ROOT / "docs" / "deviations.md")
    assert [value for value in PUBLISHED.values() if f"{value:.2f}" not in page] == []


def test_the_page_of_real_data_names_the_folder_of_every_release():
    page = text(ROOT / "docs" / "real-data.md")
    datasets = config.parsed(profile.text("paper", ROOT / "profiles"), "paper").dataset
    assert [
        each.fetch.folder for each in datasets.values() if f"| `{Path(each.fetch.folder).name}` |" not in page
    ] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("small", "| {size_px} px, {width} |"),
        ("small", "| Adam {lr}, {epochs} epochs |"),
        ("paper", "| {size_px} px, {width} |"),
        ("paper", "| SGD {lr}, {epochs} epochs of one draw per identity |"),
    ],
)
def test_numbers_of_the_profiles_on_the_page_of_real_data_are_theirs(name: str, words: str):
    params = config.parsed(profile.text(name, ROOT / "profiles"), name)
    assert words.format(**dict(params.pretrain), **params.method["fabnet"]) in text(ROOT / "docs" / "real-data.md")
