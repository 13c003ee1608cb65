"""Take the screenshots of docs/prefect-ui.md from a running UI in which *reproduce* has run.

`python tests/pipelines/ui_screenshots.py http://127.0.0.1:4200`
"""

import io
import sys
from pathlib import Path

import browser
import httpx
from PIL import Image
from playwright.sync_api import Page

from pipelines.running.server import PAGES

DOCS = Path(__file__).parents[2] / "docs"
COLOURS = 128  # enough for a page, a third of the bytes


def save(page: Page, name: str) -> None:
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS)
    image.save(DOCS / name, optimize=True)


def main(url: str) -> None:
    only = {
        "flows": {"name": {"any_": ["reproduce"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        "sort": "START_TIME_DESC",
    }
    run = httpx.post(f"{url}/api/flow_runs/filter", json=only, timeout=60).raise_for_status().json()[0]["id"]
    with browser.opened() as page:
        browser.open_form(page, f"{url}{PAGES}/", "reproduce")
        browser.choose(page, "methods", "fabnet", "vicreg", "random")
        page.mouse.wheel(0, -2000)
        page.wait_for_timeout(500)  # the list fades
        save(page, "ui-form.png")
        page.goto(f"{url}{PAGES}/runs/flow-run/{run}")
        page.get_by_text("Finished in state").last.wait_for()
        page.wait_for_timeout(3000)  # the graph is drawn with an animation
        save(page, "ui-run.png")


if __name__ == "__main__":
    main(sys.argv[1])
