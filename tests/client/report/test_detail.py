"""One file looked at closely, in a real browser: its picture, its faces, a video's timeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.rows import Track
from tests.client.report.made import face, scored, video, write_clip
from tests.conftest import jpeg

pytestmark = pytest.mark.browser

P_FAKES = [0.1, 0.2, None, 0.9, 0.8, 0.3]
"""Shown at 0.0, 0.2, ... 1.0 s, as frames 0, 2, ... 10."""


@pytest.fixture
def photo(tmp_path: Path, grace_hopper: np.ndarray) -> Path:
    (tmp_path / "photo.jpg").write_bytes(jpeg(grace_hopper))
    return tmp_path / "photo.jpg"


def open_first(page) -> None:
    page.locator("#body .open").first.click()


def test_boxes_lie_on_their_faces_in_the_colours_of_their_numbers(open_page, photo: Path) -> None:
    faces = face(0.95, (128, 180, 256, 300), "small"), face(0.1, (300, 30, 400, 120))
    page = open_page([scored(photo, *faces)])
    open_first(page)
    boxes = page.locator("figure .box")
    assert boxes.all_inner_texts() == ["0.950", "0.100"]
    assert boxes.first.get_attribute("title") == "p_fake 0.950 · small"
    picture, box = page.locator("figure .picture").bounding_box(), boxes.first.bounding_box()
    # of 512 x 600 pixels
    assert (box["x"] - picture["x"]) / picture["width"] == pytest.approx(0.25, abs=0.01)
    assert (box["y"] - picture["y"]) / picture["height"] == pytest.approx(0.3, abs=0.01)
    assert box["width"] / picture["width"] == pytest.approx(0.25, abs=0.01)
    assert box["height"] / picture["height"] == pytest.approx(0.2, abs=0.01)
    assert picture["width"] / picture["height"] == pytest.approx(512 / 600, abs=0.01)
    colours = [box.evaluate("e => getComputedStyle(e).borderTopColor") for box in boxes.all()]
    fake, real = (float(text.rstrip(")").split()[-1]) for text in colours)
    assert fake > 0.05 > -0.03 > real  # oklab's b: orange is yellowish, blue bluish
    assert page.evaluate("document.querySelector('.thumb img').naturalWidth") == 273


def test_faces_columns_and_facts_are_listed(open_page, photo: Path) -> None:
    row = scored(photo, face(0.7, flags="low_score"), face(0.2, None), columns={"label": "real", "id": 7})
    page = open_page([row])
    open_first(page)
    lines = page.locator(".faces tbody tr")
    assert lines.nth(0).locator("td").all_inner_texts() == ["0.700", "40 × 50", "0.99", "low score"]
    assert lines.nth(1).locator("td").nth(1).inner_text() == "ready crop"
    facts = page.locator("dialog .facts").all_inner_texts()
    assert facts[0].split("\n") == ["label", "real", "id", "7"]
    assert "100 × 100 px" in facts[1]
    assert "12 ms" in facts[1]
    assert "demo, int8, 0123456789abcdef" in facts[1]
    assert "threshold 0.6" in page.locator(".verdict").inner_text()


def test_a_timeline_shows_frames_tracks_the_segment_and_the_threshold(open_page, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", range(40, 150, 10))
    tracks = Track(id=1, frames=(0, 2, 6, 8), p_fake=0.3), Track(id=2, frames=(10,), p_fake=0.8)
    page = open_page([video(clip, P_FAKES, tracks=tracks)])
    open_first(page)
    plot = page.locator(".timeline .plot").bounding_box()

    def places(selector: str) -> list[tuple[float, float]]:
        boxes = [each.bounding_box() for each in page.locator(selector).all()]
        middles = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
        return [((x - plot["x"]) / plot["width"], 1 - (y - plot["y"]) / plot["height"]) for x, y in middles]

    expected = [(n / 5, p or 0.0) for n, p in enumerate(P_FAKES)]
    np.testing.assert_allclose(places(".timeline .dot"), expected, atol=0.012)
    assert page.locator(".dot.none").count() == 1
    [(middle, _)] = places(".segment")
    assert middle == pytest.approx(0.6, abs=0.01)  # 0.4 to 0.8 s of 1 s
    assert places(".rule.threshold")[0][1] == pytest.approx(0.6, abs=0.012)
    path = page.locator(".timeline path").get_attribute("d")
    assert path.count("M") == 2  # the line breaks where there is no face
    assert page.locator(".lanes li").all_inner_texts() == ["Track 2 · 1 frame · 0.800", "Track 1 · 4 frames · 0.300"]
    assert page.locator(".lanes li").nth(1).locator("i").count() == 2  # two runs
    assert "0:00.4 to 0:00.8, p_fake 0.900" in page.locator(".legend").inner_text()
    assert page.locator("figcaption").inner_text() == "The most suspicious frame, at 0:00.6"


def test_keys_and_pointer_walk_through_the_frames(open_page) -> None:
    page = open_page([video("gone.mp4", P_FAKES), scored("other.jpg", 0.5)])
    open_first(page)
    slider, readout = page.get_by_role("slider"), page.locator(".readout")
    assert readout.inner_text() == "0:00.6 · frame 6 · p_fake 0.900"
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert readout.inner_text() == "0:00.4 · frame 4 · no face"
    assert slider.get_attribute("aria-valuetext") == readout.inner_text()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert readout.inner_text() == "0:01.0 · frame 10 · p_fake 0.300"
    assert page.locator("#detail-title").inner_text() == "gone.mp4"  # and not the next file
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.22 * box["width"], box["y"] + 20)
    assert readout.inner_text() == "0:00.2 · frame 2 · p_fake 0.200"
    page.click(".frames summary")
    assert page.locator(".frames tbody tr").nth(2).inner_text().split() == ["0:00.4", "4", "–"]


def test_odd_videos_have_a_timeline_too(open_page) -> None:
    single = video("one.mp4", [0.9], segment=None, tracks=None)
    nothing = video("nothing.mp4", [], segment=None, tracks=())
    faceless = video(
        "faceless.mp4", [None, None], segment=None, tracks=(), verdict="no_face", status="no_face", p_fake=None
    )
    page = open_page([single, nothing, faceless])
    for name, words in (
        ("one.mp4", "1 frame looked at"),
        ("nothing.mp4", "No frame of this video"),
        ("faceless.mp4", "no face"),
    ):
        page.locator("#body .open", has_text=name).click()
        assert words in page.locator("dialog").inner_text()
        assert "NaN" not in page.locator("dialog").inner_html()
        page.keyboard.press("Escape")
