"""Prefect's UI in a real browser: fill in the form, watch the run, open its artifacts."""

from urllib.parse import urlsplit

import browser
import pytest
from running_ui import opened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="needs Chromium: install chromium"),
]

CHOSEN = {"profile": "small", "methods": ["pca", "fabnet"], "data_sets": ["voxceleb1", "w300"]}


def test_a_run_is_chosen_with_the_mouse_and_watched_and_its_artifacts_are_opened(tiny):
    asked: set[str] = set()
    with opened(tiny) as ui, browser.opened() as page:
        page.on("request", lambda request: asked.add(request.url))
        browser.open_form(page, ui.pages, "reproduce")
        browser.choose(page, "profile", "small")
        browser.choose(page, "methods", "pca", "fabnet")
        browser.choose(page, "data_sets", "voxceleb1", "w300")
        browser.click(page.get_by_role("button", name="Submit"))
        page.wait_for_url(lambda url: "/run?" not in url)  # back from the form: the run is there
        browser.click(page.locator("a[href*='/flow-run/']").first)
        page.wait_for_url("**/flow-run/*")
        run = page.url.rsplit("/", 1)[1].split("?")[0]
        assert CHOSEN.items() <= ui.parameters(run).items()
        assert ui.end(run)["message"] == "6 stages: 6 ran"
        page.get_by_text("Completed", exact=True).first.wait_for()
        assert any(line["message"].startswith("solid:\nRunning stage") for line in ui.lines(run))

        artifacts = ui.artifacts(run)
        assert set(artifacts) == {"parameters", "metrics", "figures", "report", "progress-solid"}
        page.goto(f"{ui.pages}artifacts/artifact/{artifacts['figures']['id']}")
        page.wait_for_function("document.querySelector('img[alt=summary]')?.naturalWidth == 60")
        page.goto(f"{ui.pages}artifacts/artifact/{artifacts['metrics']['id']}")
        page.get_by_text("w300.landmarks").first.wait_for()
        page.goto(f"{ui.pages}artifacts/artifact/{artifacts['report']['id']}")
        report = page.get_by_role("link", name="report.html").first.get_attribute("href")
        assert page.goto(report).text() == (tiny / "report.html").read_text()
    inside = ("data", "blob")  # what a page makes for itself
    elsewhere = {url for url in map(urlsplit, asked) if url.scheme not in inside and url.hostname != "127.0.0.1"}
    assert elsewhere == set()
