from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from client.report import write_report, writing
from client.report.compact import MAX_POINTS, compact_row
from client.rows import Segment, Track, VideoFrame
from client.run_settings import RunSettings, settings_path
from client.writers import open_writer
from lnclip.errors import ConfigError
from tests.client.report.made import MODEL, data_of, face, faceless, failed, page_of, scored, video
from tests.conftest import ROOT

ROWS = [
    scored("a.jpg", 0.0),
    scored("b.jpg", 0.5, 0.6, 0.61),
    scored("c.jpg", 1.0),
    faceless("d.jpg"),
    video("e.mp4", [0.1, 0.9]),
    failed("f.jpg", "truncated", "at byte 1"),
    failed("g.jpg", "not_found", "gone"),
    failed("h.jpg", "truncated", "at byte 2"),
]


def test_counts_histogram_and_rates(tmp_path: Path) -> None:
    summary = data_of(page_of(ROWS, tmp_path), "summary")
    assert summary["total"] == 8
    assert summary["statuses"] == {"ok": 4, "no_face": 1, "error": 3}
    assert summary["verdicts"] == {"real": 1, "fake": 3, "no_face": 1}
    assert summary["kinds"] == {"image": 7, "video": 1}
    assert {place: number for place, number in enumerate(summary["histogram"]) if number} == {0: 1, 30: 1, 35: 1, 49: 1}
    # Images alone: b and c of a, b, c; of their five faces 0.6, 0.61 and 1.0 reach the threshold of 0.6.
    assert (summary["images"], summary["faces"], summary["most_faces"]) == ([2, 3], [3, 5], 3)


def test_errors_are_grouped_by_reason_with_examples(tmp_path: Path) -> None:
    rows = ROWS + [failed(f"{n}.jpg", "truncated", "x" * 10_000) for n in range(20)]
    truncated, not_found = data_of(page_of(rows, tmp_path), "summary")["reasons"]
    assert truncated[:2] == ["truncated", 22]
    assert truncated[2][:2] == [["f.jpg", "at byte 1"], ["h.jpg", "at byte 2"]]
    assert len(truncated[2]) == 5
    assert len(truncated[2][4][1]) == 501  # cut
    assert not_found == ["not_found", 1, [["g.jpg", "gone"]]]


def test_says_with_which_settings_it_was_scored(tmp_path: Path) -> None:
    results, page = tmp_path / "rows.jsonl", tmp_path / "page.html"
    with open_writer(results) as writer:
        writer.write(ROWS)
    settings = {"video": {"rule": "paper", "frames": 8}, "max_side": None, "parameters": {"aggregate": "mean"}}
    settings_path(results).write_bytes(RunSettings(settings=settings).line())
    write_report(results, page)
    told = data_of(page, "summary")["settings"]
    assert told == [["video.rule", "paper"], ["video.frames", "8"], ["parameters.aggregate", "mean"]]


def test_says_how_it_was_made(tmp_path: Path) -> None:
    other = {**MODEL, "artifact_id": "ff", "sampling": {"frames": 32}, "threshold": 0.4}
    first, second = data_of(page_of([*ROWS, scored("z.jpg", 0.5, model=other)], tmp_path), "summary")["models"]
    assert (first["rows"], second["rows"]) == (5, 1)
    assert first["facts"][:3] == [["name", "demo"], ["precision", "int8"], ["artifact_id", "0123456789abcdef"]]
    assert first["settings"] == [["crop_scale", "1.3"], ["input_px", "224"]]
    assert ["sampling", '{"frames": 32}'] in second["facts"]
    assert second["threshold"] == 0.4


def test_counts_cover_the_rows_that_the_table_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_ROWS", 3)
    page = page_of(ROWS, tmp_path)
    assert [row[0] for row in data_of(page, "rows")] == ["b.jpg", "c.jpg", "e.mp4"]
    assert data_of(page, "summary")["total"] == 8


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_every_format_makes_the_same_page(tmp_path: Path, ending: str) -> None:
    expected = data_of(page_of(ROWS, tmp_path), "rows")
    results = tmp_path / f"rows{ending}"
    with open_writer(results) as writer:
        writer.write(ROWS)
    write_report(results, tmp_path / "other.html")
    assert data_of(tmp_path / "other.html", "rows") == expected


def test_a_row_is_compact_and_whole() -> None:
    row = scored("a.jpg", face(0.123456789, (1.26, 2, 3, 4), "small blurred"), columns={"label": "real", "fold": 3})
    assert json.loads(compact_row(row, 0)) == [
        "a.jpg", "image", "real", 0.12346, 1, [[0.12346, 0.99, "small blurred", 1.3, 2, 3, 4]], None, [],
        [["label", "real"], ["fold", "3"]], [100, 100, 1, 12], 0,
    ]  # fmt: skip


def test_what_is_no_number_is_left_out() -> None:
    odd = face(0.5).model_copy(update={"score": float("nan"), "box": (float("inf"), 0, 1, 1)})
    assert json.loads(compact_row(scored("a.jpg", odd), None))[5] == [[0.5, None, "", None, 0, 1, 1]]


def test_a_timeline_has_runs_of_each_track_and_the_segment() -> None:
    row = video("v.mp4", [0.1, 0.2, None, 0.4, 0.5], tracks=(Track(id=7, frames=(0, 2, 6, 8), p_fake=0.3),))
    assert json.loads(compact_row(row, 0))[-1] == [
        5,
        [[0, 0, 0.1], [2, 0.2, 0.2], [4, 0.4, None], [6, 0.6, 0.4], [8, 0.8, 0.5]],
        [[7, 0.3, 4, [[0, 0.2], [0.6, 0.8]]]],
        [0.4, 0.8, 0.9],
    ]


def test_several_faces_of_a_frame_are_kept_apart() -> None:
    frame = VideoFrame(index=0, time_s=0, p_fake=0.8, faces=(face(0.8), face(0.2)))
    row = video("v.mp4", [], frames=(frame,), segment=None)
    assert json.loads(compact_row(row, 0))[-1] == [1, [[0, 0, 0.8, 0.8, 0.2]], [[1, 0.7, 0, []]], None]


def test_a_long_timeline_is_thinned_and_keeps_its_peak() -> None:
    p_fakes = [0.1] * 2500
    p_fakes[1777] = 0.95
    num_frames, points, _, _ = json.loads(compact_row(video("v.mp4", p_fakes), 0))[-1]
    assert num_frames == 2500
    assert MAX_POINTS / 2 < len(points) <= MAX_POINTS
    assert max(points, key=lambda point: point[2])[0] == 2 * 1777


def test_no_name_can_become_markup(tmp_path: Path) -> None:
    name = '</script><script>alert(1)</script><!--<img src=x onerror="alert(1)">'
    plain, odd = page_of(ROWS, tmp_path).read_text(), page_of(
        [scored(name, 0.7, columns={name: name}), failed(name, name, name)], tmp_path, note=name
    )  # fmt: skip
    assert odd.read_text().count("<script") == plain.count("<script")
    assert "alert(1)" not in re.sub(
        r'<script type="application/json".*?</script>', "", odd.read_text(), flags=re.DOTALL
    )
    assert data_of(odd, "rows")[0][0] == name
    assert data_of(odd, "summary")["note"] == name


def test_text_that_is_no_unicode_does_not_stop_the_page(tmp_path: Path) -> None:
    page = page_of([scored("日本 😀.jpg", 0.7, columns={"odd": "half"})], tmp_path)
    results = tmp_path / "rows.jsonl"
    results.write_text(results.read_text().replace("half", r"\ud83d"))  # half of a pair
    write_report(results, page)
    [row] = data_of(page, "rows")
    assert (row[0], row[8]) == ("日本 😀.jpg", [["odd", "\ud83d"]])


def test_only_its_own_script_and_style_may_run(tmp_path: Path) -> None:
    page = page_of(ROWS, tmp_path).read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for name, text in (
        ("script-src", re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL)[1]),
        ("style-src", re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert all(source.startswith("data:") for source in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert "url(" not in page


def test_every_file_of_the_page_is_in_it() -> None:
    files = {path.name for path in writing.SOURCES.iterdir()}
    assert files == {"page.html", "page.css", *writing.SCRIPTS}
    assert writing.SOURCES.is_relative_to(ROOT / "client")  # the wheel takes what lies in the package


def test_no_rows_make_a_page_too(tmp_path: Path) -> None:
    page = page_of([], tmp_path)
    assert data_of(page, "rows") == []
    assert data_of(page, "summary")["total"] == 0


def test_a_missing_result_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        write_report(tmp_path / "nowhere.csv", tmp_path / "report.html")


def test_the_page_never_replaces_its_rows(tmp_path: Path) -> None:
    page_of(ROWS, tmp_path)
    results = tmp_path / "rows.jsonl"
    before = results.read_bytes()
    with pytest.raises(ConfigError, match="is the result file itself"):
        write_report(results, results)
    assert results.read_bytes() == before


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    page_of(ROWS, tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"folder cannot be written"):
        write_report(tmp_path / "rows.jsonl", tmp_path / "folder")
    with pytest.raises(ConfigError, match=r"nowhere/report\.html cannot be written"):
        write_report(tmp_path / "rows.jsonl", tmp_path / "nowhere" / "report.html")
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "report.html", "folder"}


def test_bad_rows_leave_the_last_page_as_it_was(tmp_path: Path) -> None:
    page = page_of(ROWS, tmp_path)
    before = page.read_bytes()
    (tmp_path / "rows.jsonl").write_text('{"schema": 1}\n')
    with pytest.raises(ConfigError, match="row 1 is not a result row"):
        write_report(tmp_path / "rows.jsonl", page)
    assert page.read_bytes() == before


def test_a_video_without_frames_has_no_points() -> None:
    row = video("v.mp4", [], tracks=(), segment=Segment(start_s=0, end_s=1, p_fake=0.5))
    assert json.loads(compact_row(row, None))[-1] == [0, [], [], [0, 1, 0.5]]
