"""How the page looks in a real browser: light and dark, a phone's width, on paper, and with nothing to show."""

from __future__ import annotations

import pytest

from tests.client.report.made import failed, scored
from tests.client.report.test_page import ROWS, names

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 844}}


def test_focus_can_be_seen(open_page) -> None:
    page = open_page(ROWS)
    for _ in range(12):
        page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement)"
        assert page.evaluate(f"{style}.outlineStyle") == "solid"
        assert page.evaluate("document.activeElement.matches('button, input, select, summary')")


def brightness(page, selector: str, of: str) -> float:
    """0..1, of a colour as the browser computes it."""
    text = page.eval_on_selector(selector, f"e => getComputedStyle(e).{of}")
    red, green, blue = (int(part) / 255 for part in text[4:-1].split(","))
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(open_page, scheme: str) -> None:
    page = open_page(ROWS, color_scheme=scheme)
    grounds = {
        "html": brightness(page, "html", "backgroundColor"),
        "card": brightness(page, ".card", "backgroundColor"),
    }
    assert (grounds["html"] > 0.8) == (scheme == "light")
    assert (grounds["html"] < 0.05) == (scheme == "dark")
    for selector in ("h1", "#subtitle", ".chip.fake", ".chip.real", ".chip.error", "#caveat"):
        ink = brightness(page, selector, "color")
        for ground in grounds.values():
            lighter, darker = max(ink, ground), min(ink, ground)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector


def test_a_phone_never_scrolls_sideways(open_page) -> None:
    long = "x" * 300
    rows = [*ROWS, scored(f"/data/{long}/{long}.jpg", 0.97, columns={long: long}), failed(f"/{long}", long, long)]
    page = open_page(rows, note=long, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click("th button:text('File')")  # the headings are there to sort by
    for name in (f"{long}.jpg", "clip.mp4"):
        page.locator("#body .open", has_text=name).click()
        assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 390
        page.keyboard.press("Escape")
    page.click(".reason summary >> nth=0")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_paper_has_no_buttons_and_no_dark(open_page) -> None:
    page = open_page(ROWS, color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert page.locator("#body tr").count() == 6
    assert brightness(page, "html", "backgroundColor") > 0.8


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "The result file has no rows: nothing was scored."),
        (ROWS[5:], "No file could be scored. There is no p_fake to show."),
        (ROWS[3:4], "No face was found in any file. There is no p_fake to show."),
        (ROWS[3:6:2], "No face was found in any file. There is no p_fake to show."),
    ],
    ids=["no rows", "only errors", "no faces", "errors and no faces"],
)
def test_says_why_there_is_nothing(open_page, rows, words: str) -> None:
    page = open_page(rows)
    assert words in page.locator("main").inner_text()
    assert "NaN" not in page.locator("main").inner_text()
    assert len(names(page)) == len(rows)
