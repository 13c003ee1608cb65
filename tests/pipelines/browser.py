"""A real browser on Prefect's UI: Chromium without a window, and a hand on its mouse."""

import contextlib
import re
import shutil
from collections.abc import Iterator

from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TIMEOUT_MS = 800_000  # for what takes seconds on an idle machine
PRESS_MS = 100  # a hand holds the button that long; a list that closes when it is let go cannot be used
BESIDE = (100, 650)  # pixels, where nothing is


@contextlib.contextmanager
def opened() -> Iterator[Page]:
    """A page of 1200 x 900 pixels."""
    with sync_playwright() as play, play.chromium.launch(executable_path=CHROMIUM) as chromium:
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(TIMEOUT_MS)
        yield page


def click(place: Locator) -> None:
    """Move the mouse there, press and let go: input events of the browser, not of the page."""
    place.click(delay=PRESS_MS)


def open_form(page: Page, address: str, deployment: str) -> None:
    """Go from the first page to the form of a deployment."""
    page.goto(address)
    click(page.get_by_role("link", name="Deployments", exact=True))
    click(page.get_by_role("link", name=deployment, exact=True).first)
    page.wait_for_url("**/deployments/deployment/*")
    click(page.get_by_role("button", name="Run", exact=True))
    click(page.get_by_text("Custom run"))
    page.get_by_text("Enforce Parameter Schema").wait_for()


def choose(page: Page, field: str, *names: str) -> None:
    """Open the list of a field of the form and pick names from it."""
    click(page.get_by_label(re.compile(rf"{field}\b")))
    for name in names:
        click(page.get_by_role("option", name=name, exact=True))
    page.mouse.click(*BESIDE, delay=PRESS_MS)  # a list of which several can be picked stays open
    page.get_by_role("listbox").wait_for(state="hidden")
