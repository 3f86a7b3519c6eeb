"""The page in a real browser over the real server; and its pieces, where a browser would show no more."""

from __future__ import annotations

import http.client
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from client import Row, RowError, Scorer
from client.rows import Face, Segment, VideoFrame
from client.ui.findings import show_row
from client.ui.serving import LOOPBACK, _listen
from client.ui.timeline import timeline
from lnclip.errors import ConfigError
from lnclip.running import RunningServer
from tests.client.peer import Peer, ensemble_answer, serve
from tests.client.ui_page import asked_outside, drop, note_outside, running
from tests.clips import moving, write_clip
from tests.conftest import jpeg

DOMAIN = "Wholly generated images are outside the domain"


@pytest.fixture(scope="module")
def address(triton: RunningServer) -> Iterator[str]:
    sys.addaudithook(note_outside)
    with running([triton.grpc_url]) as url:
        yield url


@pytest.fixture(scope="module")
def opened_page(browser, address: str):
    requests, complaints = [], []
    with browser.new_page() as opened:
        opened.on("request", lambda request: requests.append(request.url))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        opened.goto(address)
        opened.wait_for_selector("#server .ready")
        yield opened, requests, complaints


@pytest.fixture
def page(opened_page, address: str):
    """The page; after each test: it asked nobody else, and had nothing to complain of."""
    opened, requests, complaints = opened_page
    yield opened
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert requests
    assert complaints == []


@pytest.mark.slow
@pytest.mark.browser
def test_an_image_is_shown_with_its_faces_boxed_and_numbered(
    page, triton: RunningServer, tmp_path: Path, astronaut: np.ndarray
) -> None:
    photo = tmp_path / "astronaut.jpg"
    photo.write_bytes(jpeg(astronaut))
    with Scorer(triton.grpc_url) as scorer:
        row = scorer.score(photo)
    drop(page, photo)
    assert page.inner_text("#findings .verdict strong") == f"Called {row.verdict}"
    assert page.inner_text("#findings .verdict .number") == f"{row.p_fake:.3f}"
    assert page.inner_text("#findings .box") == f"1: {row.p_fake:.3f}"
    assert page.get_attribute("#findings .box", "class") == f"box {row.verdict}"
    picture, box = (page.locator(f"#findings {name}").bounding_box() for name in ("img", ".box"))
    scale = picture["width"] / 512
    x1, y1, x2, y2 = row.faces[0].box
    found = [box["x"] - picture["x"], box["y"] - picture["y"], box["width"], box["height"]]
    np.testing.assert_allclose(found, np.array([x1, y1, x2 - x1, y2 - y1]) * scale, atol=1.5)
    assert page.evaluate("document.querySelector('#findings img').naturalWidth") == 512
    page.click("#findings summary")
    assert str(row.model["artifact_id"]) in page.inner_text("#findings dl")
    assert DOMAIN in page.inner_text("#findings .limits")


@pytest.mark.slow
@pytest.mark.browser
def test_no_face_is_said_as_such_and_the_place_is_free_for_the_next_file(page, tmp_path: Path) -> None:
    rocket, text = tmp_path / "rocket.png", tmp_path / "text.jpg"
    Image.fromarray(skimage.data.rocket()).save(rocket)
    text.write_text("this is no picture")
    drop(page, rocket)
    shown = page.inner_text("#findings")
    assert "No face" in shown
    assert "not a low score" in shown
    assert "p_fake" not in shown
    assert page.locator("#findings .box").count() == 0
    drop(page, text)
    shown = page.inner_text("#findings .verdict")
    assert shown.startswith("Not scored")
    assert "not_an_image" in shown


@pytest.mark.slow
@pytest.mark.browser
def test_a_video_has_a_timeline_and_its_most_suspicious_frame(
    page, triton: RunningServer, tmp_path: Path, astronaut: np.ndarray
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving(astronaut[:256, 100:356], 12, without=(5, 6)))
    with Scorer(triton.grpc_url) as scorer:
        row = scorer.score(clip)
    with_face = [frame for frame in row.frames if frame.faces]
    assert 0 < len(with_face) < len(row.frames)
    drop(page, clip)
    assert page.locator("#findings svg circle").count() == len(with_face)
    assert page.locator("#findings svg .faceless").count() == len(row.frames) - len(with_face)
    segment = row.segment
    words = page.inner_text("#findings .timeline p")
    assert f"from {segment.start_s:.2f} s to {segment.end_s:.2f} s, p_fake {segment.p_fake:.3f}" in words
    worst = max(with_face, key=lambda frame: frame.p_fake)
    assert f"Frame at {worst.time_s:.2f} s" in page.inner_text("#findings figcaption")
    assert f"{worst.faces[0].p_fake:.3f}" in page.inner_text("#findings .box")


@pytest.mark.slow
@pytest.mark.browser
def test_nothing_is_kept_and_nobody_else_is_asked(page, tmp_path: Path, astronaut: np.ndarray) -> None:
    photo = tmp_path / "kept.jpg"
    photo.write_bytes(jpeg(astronaut))
    drop(page, photo)
    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    assert [path for path in uploads.rglob("*") if path.is_file() and path.stat().st_size] == []
    assert asked_outside == []


@pytest.mark.slow
@pytest.mark.browser
def test_a_server_that_is_away_is_said_and_found_again_and_a_large_file_is_refused(
    browser, address: str, tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, large = tmp_path / "small.jpg", tmp_path / "large.jpg"
    photo.write_bytes(jpeg(astronaut))
    large.write_bytes(bytes(300_000))
    monkeypatch.setattr("client.ui.page.MAX_UPLOAD_BYTES", 200_000)
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    with running([f"{LOOPBACK}:{port}"]) as url, browser.new_page() as page:
        page.goto(url)
        page.wait_for_selector("#server .verdict:has-text('python -m server start')")
        drop(page, photo)
        assert "python -m server start" in page.inner_text("#findings")
        with serve(Peer(lambda request: ensemble_answer((0.71,))), port):
            page.set_input_files("#drop input[type=file]", photo)
            page.wait_for_selector("#findings .number:has-text('0.71')")
            assert page.inner_text("#server") == f"Scored by Triton at {LOOPBACK}:{port}."
            page.set_input_files("#drop input[type=file]", large)
            page.wait_for_selector('text=/exceed the maximum allowed size of .* "large.jpg"/')


@pytest.mark.slow
def test_other_sites_cannot_reach_it_through_the_browser(address: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://").strip("/"))
    connection.request("GET", "/config", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 400
    connection.close()
    connection.request("GET", "/")
    policy = connection.getresponse().headers["Content-Security-Policy"]
    connection.close()
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_a_port_that_is_taken_is_named_with_its_remedy() -> None:
    with _listen(0) as taken:
        assert taken.getsockname()[0] == "127.0.0.1"
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .*give another --port"):
            _listen(port)
    with pytest.raises(ConfigError, match="must be 0 to 65535"):
        _listen(99_999)


def row_of(**changed: object) -> Row:
    fields = {
        "path": "x",
        "size_bytes": 1,
        "mtime_ns": 1,
        "sha256": "0" * 64,
        "status": "ok",
        "verdict": "fake",
        "p_fake": 0.9,
        "num_faces": 1,
        "width": 10,
        "height": 10,
        "error": None,
        "model": {"name": "m", "threshold": 0.5},
        "elapsed_ms": 1,
    }
    return Row.model_validate(fields | changed)


def test_what_files_and_servers_say_is_text_and_never_markup() -> None:
    hostile = "<img src=x onerror=alert(1)>\"'"
    face = Face(box=(1, 1, 5, 5), landmarks=[(0, 0)] * 5, score=1, p_fake=0.9, flags=(hostile,))
    scored = show_row(
        row_of(faces=(face,), warnings=(hostile,), model={"name": hostile, "threshold": 0.5}), hostile, None
    )
    failed = show_row(
        row_of(status="error", verdict=None, p_fake=None, error=RowError(code="x", message=hostile)), hostile, None
    )
    for html in (scored, failed):
        assert "<img" not in html
        assert html.count("&lt;img src=x") >= 2


def test_a_server_that_went_away_in_between_is_said_with_its_remedy() -> None:
    error = RowError(code="unavailable", message="connection refused")
    html = show_row(row_of(status="error", verdict=None, p_fake=None, error=error), "a.jpg", None)
    assert "connection refused (unavailable)" in html
    assert "python -m server status" in html


def test_the_timeline_is_drawn_to_scale() -> None:
    """Three frames a second apart: the axis ends a second after the last one, 150 px are 1."""
    frames = [VideoFrame(index=n, time_s=n, p_fake=p, faces=()) for n, p in enumerate((0.2, None, 0.8))]
    html = timeline(row_of(kind="video", frames=frames, segment=Segment(start_s=2, end_s=3, p_fake=0.8)), 0.5)
    assert 'cx="0.00%" cy="120.0"' in html
    assert 'cx="66.67%" cy="30.0"' in html
    assert '<rect class="segment" x="66.67%" width="33.33%"' in html
    assert 'class="faceless" x1="33.33%"' in html
    assert 'class="threshold" x1="0" x2="100%" y1="75.0"' in html
    assert "3 frames looked at, 1 of them without a face." in html
    assert "3.0 s</i>" in html


def test_a_video_of_one_frame_or_without_faces_has_a_timeline_too() -> None:
    lone = row_of(kind="video", frames=[VideoFrame(index=0, time_s=0, p_fake=None)], segment=None)
    assert "No frame has a face. 1 frames looked at" in timeline(lone, None)
    assert timeline(row_of(kind="video", frames=[], segment=None), None) == ""
