"""The page in a real browser: counts, the table, the keyboard."""

from __future__ import annotations

import pytest

from client.report import writing
from tests.client.report.made import MODEL, face, faceless, failed, scored, video

pytestmark = pytest.mark.browser

ROWS = [
    scored("/data/b/photo_10.jpg", 0.2, 0.1),
    scored("/data/b/photo_2.jpg", face(0.9, flags="small"), columns={"camera": "Leica"}),
    scored("/data/a/Zebra.png", 0.6, 0.3, 0.2),
    faceless("/data/a/landscape.jpg", warnings=("exif_rotated",)),
    video("/data/a/clip.mp4", [0.1, 0.95]),
    failed("/data/b/cut.jpg", "truncated", "ends after 12 bytes"),
]
BY_P = ["photo_2.jpg", "clip.mp4", "Zebra.png", "photo_10.jpg", "landscape.jpg", "cut.jpg"]


def names(page) -> list[str]:
    return page.locator("#body .open").all_inner_texts()


def choose(page, **values: str) -> list[str]:
    for name, value in values.items():
        field = page.locator(f"[name={name}]")
        field.select_option(value) if name in {"verdict", "status", "kind"} else field.fill(value)
    return names(page)


def test_begins_with_the_most_suspicious(open_page) -> None:
    page = open_page(ROWS, note="<b>a demo</b>")
    assert names(page) == BY_P
    assert page.locator("#note").inner_text() == "<b>a demo</b>"
    assert page.locator("#subtitle").inner_text().startswith("5 images, 1 video · written 20")
    assert page.locator(".tile .figure").all_inner_texts() == ["3", "1", "1", "1"]
    assert page.locator("#rates .figure").all_inner_texts() == ["67 %", "33 %"]  # 2 of 3 images, 2 of 6 faces
    assert page.locator(".mark").inner_text() == "threshold 0.6"
    assert page.locator("#models").inner_text().count("0123456789abcdef") == 1


def test_headings_sort_either_way_and_say_so(open_page) -> None:
    page = open_page(ROWS)
    sorting = page.locator("th[aria-sort]")
    assert (sorting.inner_text(), sorting.get_attribute("aria-sort")) == ("p_fake", "descending")
    page.click("th button:text('p_fake')")
    assert names(page) == [*BY_P[3::-1], "landscape.jpg", "cut.jpg"]  # without a number: last either way
    page.click("th button:text('File')")
    assert names(page) == ["clip.mp4", "landscape.jpg", "Zebra.png", "cut.jpg", "photo_2.jpg", "photo_10.jpg"]
    assert (sorting.inner_text(), sorting.get_attribute("aria-sort")) == ("File", "ascending")
    page.focus("th button:text('Faces')")
    page.keyboard.press("Enter")
    assert names(page)[:2] == ["Zebra.png", "photo_10.jpg"]
    page.click("th button:text('Verdict')")
    assert names(page) == ["photo_2.jpg", "Zebra.png", "clip.mp4", "photo_10.jpg", "landscape.jpg", "cut.jpg"]


FILTERED = [
    ({"verdict": "fake"}, ["photo_2.jpg", "clip.mp4", "Zebra.png"]),
    ({"verdict": "fake", "kind": "image"}, ["photo_2.jpg", "Zebra.png"]),
    ({"status": "error"}, ["cut.jpg"]),
    ({"status": "no_face"}, ["landscape.jpg"]),
    ({"kind": "video"}, ["clip.mp4"]),
    ({"low": "0.6"}, ["photo_2.jpg", "clip.mp4", "Zebra.png"]),
    ({"low": "0.2", "high": "0.7"}, ["clip.mp4", "Zebra.png", "photo_10.jpg"]),
    ({"words": "PHOTO"}, ["photo_2.jpg", "photo_10.jpg"]),
    ({"words": "leica"}, ["photo_2.jpg"]),
    ({"words": "/a/ zebra"}, ["Zebra.png"]),
    ({"words": "truncated"}, ["cut.jpg"]),
    ({"words": "exif"}, ["landscape.jpg"]),
    ({"words": "small", "verdict": "real"}, []),
]


def test_filters_and_search(open_page) -> None:
    page = open_page(ROWS)
    for filters, expected in FILTERED:
        assert choose(page, **filters) == expected
        status = f"1–{len(expected)} of {len(expected)} that match, of 6 files" if expected else "None of 6 files"
        assert page.locator("#range").inner_text() == status
        assert page.locator("#nothing").is_visible() == (not expected)
        page.click("button[type=reset]")
        page.locator("#body .open").nth(5).wait_for()


def test_counts_and_reasons_lead_to_their_rows(open_page) -> None:
    page = open_page(ROWS)
    choose(page, words="nothing like it")
    page.click(".tile.no_face")
    assert names(page) == ["landscape.jpg"]
    page.click(".reason summary")
    page.click(".reason button")
    assert names(page) == ["cut.jpg"]
    assert page.locator(".reason li").inner_text() == "/data/b/cut.jpg ends after 12 bytes"


def test_a_name_is_text(open_page) -> None:
    name = "<img src=x onerror=\"document.title='owned'\">.jpg"
    page = open_page([scored(f"/d/{name}", 0.9, columns={name: name}), failed(f"/e/{name}", "odd", name)], note=name)
    assert names(page) == [name, name]
    page.locator("#body .open").first.click()
    assert page.locator("#detail-title").inner_text() == name
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()


def test_pages_of_a_hundred(open_page) -> None:
    page = open_page([scored(f"{n}.jpg", 0.5) for n in range(250)])
    assert (len(names(page)), page.locator("#page-number").inner_text()) == (100, "Page 1 of 3")
    assert page.locator("#previous").is_disabled()
    page.click("#next")
    page.click("#next")
    assert names(page) == [f"{n}.jpg" for n in range(200, 250)]
    assert page.locator("#range").inner_text() == "201–250 of 250 files"
    assert page.locator("#next").is_disabled()
    page.click("th button:text('p_fake')")
    assert page.locator("#page-number").inner_text() == "Page 1 of 3"
    assert choose(page, words="77.jpg") == ["77.jpg", "177.jpg"]
    assert not page.locator("#pages").is_visible()


def test_the_keyboard_opens_walks_and_closes(open_page) -> None:
    page = open_page(ROWS)
    focused = "document.activeElement.innerText"
    page.locator("#body .open").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "clip.mp4"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.locator("#detail-title").inner_text() == "photo_2.jpg"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#detail-title").inner_text() == "Zebra.png"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate(focused) == "Zebra.png"


def test_every_field_and_button_has_a_name(open_page) -> None:
    page = open_page([*ROWS, *(scored(f"{n}.jpg", 0.5) for n in range(100))])
    page.locator("#body .open").first.click()
    nameless = """all => all.filter(e => !(e.textContent || e.ariaLabel || e.labels?.[0]?.textContent.trim()))
                             .map(e => e.outerHTML)"""
    assert page.locator("button, input, [role=slider]").count() > 100
    assert page.eval_on_selector_all("button, input, [role=slider]", nameless) == []
    unlabelled = "all => all.filter(e => !e.labels[0]?.textContent.trim()).map(e => e.outerHTML)"
    assert page.eval_on_selector_all("select", unlabelled) == []


def test_ten_thousand_rows_are_fluent(open_page) -> None:
    page = open_page([scored(f"/data/{n % 97}/photo_{n}.jpg", (n * 7919 % 10_000) / 10_000) for n in range(10_000)])
    timed = """act => {
        const started = performance.now();
        act();
        document.body.offsetHeight;
        return performance.now() - started;
    }"""
    search = "document.querySelector('[name=words]')"
    for act in (
        "document.querySelector('[data-column=path] button').click()",
        "document.querySelector('[data-column=faces] button').click()",
        f"{search}.value = 'photo_77'; {search}.dispatchEvent(new Event('input', {{bubbles: true}}))",
    ):
        assert page.evaluate(f"({timed})(() => {{ {act} }})") < 1500, act  # some 60 ms where nothing else runs
    assert page.locator("#range").inner_text() == "1–100 of 111 that match, of 10,000 files"
    assert len(names(page)) == 100


def test_says_what_the_table_leaves_out(open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_ROWS", 2)
    page = open_page(ROWS)
    assert page.locator("#left-out").inner_text().startswith("The 2 of highest p_fake, of 6; everything above counts")
    assert names(page) == BY_P[:2]
    assert page.locator(".tile .figure").all_inner_texts() == ["3", "1", "1", "1"]


def test_several_models_have_a_threshold_each(open_page) -> None:
    page = open_page([*ROWS, scored("other.jpg", 0.5, model={**MODEL, "name": "other", "threshold": 0.25})])
    assert page.locator(".mark").all_inner_texts() == ["threshold 0.6", "threshold 0.25"]
    assert page.locator("#models h3").all_inner_texts() == ["5 files by demo", "1 file by other"]


def test_relative_and_absolute_names_have_no_folder_in_common(open_page) -> None:
    page = open_page(
        [scored("/a.jpg", 0.9), scored("b.jpg", 0.8), scored("s3://bucket/c.jpg", 0.7), failed("", "empty")]
    )
    assert names(page) == ["a.jpg", "b.jpg", "c.jpg", "(bytes)"]
    assert page.locator("#left-out").inner_text() == ""
