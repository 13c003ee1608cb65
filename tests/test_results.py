"""The rows that people have sent in are sound, and the page shows them."""

from pathlib import Path

from pipelines import reference
from pipelines.results import page
from pipelines.results.rows import FOLDER, read_all

ROOT = Path(__file__).parents[1]


def test_every_row_of_results_is_sound_and_is_on_the_page():
    found = reference.BLOCK.search((ROOT / reference.PAGE).read_text(encoding="utf-8"))
    assert found, f"{reference.PAGE} has lost the markers around its tables"
    assert found[0] == f"{found[1]}{page.markdown(read_all(ROOT / FOLDER))}\n{found[2]}"
