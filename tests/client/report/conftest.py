"""Pages opened in a browser that must not complain, nor ask anybody for anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from client.rows import Row
from tests.client.report.made import page_of


@pytest.fixture
def open_page(browser, tmp_path: Path) -> Iterable[Callable]:
    """``open_page(rows, **context)``: their page; ``context`` is Playwright's (viewport, color_scheme, ...)."""
    contexts, complaints = [], []

    def open_(rows: Iterable[Row], note: str = "", **context: object):
        file = page_of(rows, tmp_path, note)
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **context})
        )
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: _check_request(request.url, file, complaints))
        page.goto(file.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def _check_request(url: str, file: Path, complaints: list[str]) -> None:
    if url != file.as_uri() and not url.startswith("data:"):
        complaints.append(f"asked for {url}")
