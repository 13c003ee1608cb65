"""A real browser on Prefect's UI: Chromium without a window."""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TIMEOUT_MS = 800_000  # for what takes seconds on an idle machine


@contextlib.contextmanager
def opened() -> Iterator[Page]:
    """A page of 1200 x 900 pixels."""
    with sync_playwright() as play, play.chromium.launch(executable_path=CHROMIUM) as chromium:
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(TIMEOUT_MS)
        yield page


def open_form(page: Page, url: str, deployment: str) -> None:
    """Go from the list of deployments to the form of one."""
    page.goto(f"{url}/deployments")
    page.get_by_role("link", name=deployment, exact=True).first.click()
    page.wait_for_url("**/deployments/deployment/*")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    page.get_by_text("stages at a time").wait_for()
