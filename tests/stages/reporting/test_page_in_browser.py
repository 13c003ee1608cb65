"""The report as a browser shows it: real Chromium, pages of three and of eleven methods, the network watched."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from report_samples import crowded, parameters, run, write_inputs

from stages.reporting import page as report_page
from stages.reporting.page import Figures
from stages.runtime import stopwatch

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
A4_LANDSCAPE_PX = 1031  # 297 mm less margins at 96 dpi

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium on PATH"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    params = parameters(methods=["fabnet", "a_method_with_a_rather_long_name", "random"])
    write_inputs(root, params)
    timing = stopwatch.Timing(
        wall_s=60, cpu_s=90, peak_mb=900, device="A GPU with a Long Name 80GB", ended="2026-11-27T05:00"
    )
    stopwatch.keep(timing, "split", root / ".timings")
    return run(root, params) / "report.html"


@pytest.fixture(scope="module")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven methods, seven data sets, two seeds; without figures."""
    path = tmp_path_factory.mktemp("long") / "report.html"
    path.write_text(report_page.render(crowded(seeds=2), Figures(b"", b"", b"", b"", {}, {})), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(chromium: Browser, report: Path, width: int, scheme: str) -> tuple[Page, list[str]]:
    """The page with all its folds open, and what it said or asked for beyond itself."""
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, noise = context.new_page(), list[str]()
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on(
        "request", lambda request: noise.append(request.url) if not request.url.startswith(("data:", "file:")) else None
    )
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    return page, noise


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1280])
def test_the_page_fits_and_loads_nothing_from_the_network(chromium, report, width, scheme):
    page, noise = opened(chromium, report, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert noise == []


NO_TABLE_SCROLLS = "[...document.querySelectorAll('.scroll')].every(box => box.scrollWidth <= box.clientWidth)"


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_no_table_is_wider_than_the_page_with_three_methods_or_with_eleven(chromium, report, long_report, width):
    for path in (report, long_report):
        page, _ = opened(chromium, path, width, "light")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(NO_TABLE_SCROLLS)


def test_a_row_of_the_results_is_a_card_on_a_narrow_screen(chromium, long_report):
    head, line = ".across thead", ".across tbody td:nth-of-type(2)"
    page, _ = opened(chromium, long_report, 1280, "light")
    assert page.locator(head).first.is_visible()
    label = f"getComputedStyle(document.querySelector('{line}'), '::before').content"
    assert page.evaluate(label) == "none"
    page, _ = opened(chromium, long_report, 400, "light")
    assert not page.locator(head).first.is_visible()
    assert page.evaluate(label) == '"fabnet"'
    assert page.locator(line).first.inner_text().startswith("0.")


def test_the_answers_of_seven_data_sets_are_on_the_first_screen(chromium, long_report):
    page, _ = opened(chromium, long_report, 1280, "light")
    box = page.locator("#answers + p + .answers").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 800
    assert page.locator(".answers dt").all_inner_texts() == [
        "affectnet", "aflw", "emotionet", "mafl", "w300", "voxceleb1", "voxceleb2",
    ]  # fmt: skip


def test_the_dark_theme_is_dark_and_print_is_light_with_whole_tables(chromium, long_report):
    page, _ = opened(chromium, long_report, A4_LANDSCAPE_PX, "dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(21, 24, 28)"
    page.emulate_media(media="print")
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") == A4_LANDSCAPE_PX
    assert page.evaluate(NO_TABLE_SCROLLS)


def test_the_contents_lead_to_their_sections_by_keyboard(chromium, report):
    page, _ = opened(chromium, report, 1200, "light")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#answers"
    page.locator("nav a", has_text="Time and memory").focus()
    page.keyboard.press("Enter")
    assert page.locator(":target").inner_text().strip("› ") == "Time and memory"
    assert page.locator(":target").is_visible()
