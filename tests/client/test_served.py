"""Through the real server: every kind of bad or odd file has its row and its reason, and the neighbours are scored."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from client import Row, ScoreOptions, Scorer
from client.job import ScoreRun, score_paths
from client.readers import read_rows
from client.report import write_report
from client.rows import real_path
from lnclip.running import RunningServer
from tests.conftest import encoded, jpeg

pytestmark = pytest.mark.slow

FACE_BOX = (181, 62, 268, 172)
"""Of the astronaut, as MTCNN sees it; reference figures, to a few pixels."""

ROTATED_RIGHT = 6
"""EXIF orientation: stored turned a quarter to the left, shown turned back."""


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of some kilobytes that declares 14000 x 14000."""
    return saved(Image.new("1", (14000, 14000)), "PNG")


def with_alpha(photo: Image.Image) -> Image.Image:
    """Half transparent at its right border, far from the face."""
    alpha = Image.new("L", photo.size, 255)
    ImageDraw.Draw(alpha).rectangle((480, 0, 512, 512), fill=128)
    image = photo.copy()
    image.putalpha(alpha)
    return image


def unreadable(photo: np.ndarray) -> dict[str, tuple[bytes, str]]:
    """Content and expected code, by file name."""
    image = Image.fromarray(photo)
    jpg, png, webp = jpeg(photo), encoded(photo, "PNG"), encoded(photo, "WEBP")
    return {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"this is no picture", "not_an_image"),
        "cut.jpg": (jpg[: len(jpg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "cut.webp": (webp[: len(webp) // 2], "damaged"),
        "header_only.png": (png[:33], "damaged"),
        "bomb.png": (bomb(), "too_many_pixels"),
        "dot.png": (saved(image.resize((1, 1)), "PNG"), "bad_sides"),
        "ribbon.png": (saved(image.resize((16384, 8)), "PNG"), "bad_sides"),
    }


def odd(photo: np.ndarray) -> dict[str, tuple[bytes, tuple[str, ...]]]:
    """Content and expected warnings, by file name; all of them show the astronaut."""
    image = Image.fromarray(photo)
    exif = Image.Exif()
    exif[0x0112] = ROTATED_RIGHT
    sixteen = np.asarray(image.convert("L")).astype(np.uint16) * 257
    blank = Image.new("RGB", image.size)
    animation = {"save_all": True, "append_images": [blank], "duration": 100}
    animated = ("first_frame_of_animation",)
    return {
        "plain.jpg": (jpeg(photo), ()),
        "progressive.jpg": (jpeg(photo, progressive=True), ()),
        "turned.jpg": (jpeg(np.ascontiguousarray(np.rot90(photo)), exif=exif), ("exif_rotated",)),
        "cmyk.jpg": (saved(image.convert("CMYK"), "JPEG", quality=95), ("cmyk",)),
        "grey16.png": (saved(Image.fromarray(sixteen), "PNG"), ("sixteen_bit",)),
        "rgba.png": (saved(with_alpha(image), "PNG"), ("alpha_flattened",)),
        "la.png": (saved(with_alpha(image).convert("LA"), "PNG"), ("alpha_flattened",)),
        "palette.png": (saved(image.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), ()),
        "animated.gif": (saved(image, "GIF", **animation), animated),
        "animated.webp": (saved(image, "WEBP", lossless=True, **animation), animated),
    }


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for name, (content, _) in (unreadable(astronaut) | odd(astronaut)).items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "inside.jpg").write_bytes(jpeg(astronaut))
    (folder / os.fsdecode(b"\xe9 100%.jpg")).write_bytes(jpeg(astronaut, comment=b"a file of its own"))
    (folder / "circle").symlink_to(folder)
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "landscape.png").write_bytes(encoded(np.full((240, 320, 3), 120, np.uint8), "PNG"))
    (folder / "index.csv").write_text("path,label\n")
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, triton: RunningServer, media: Path) -> Path:
    out = tmp_path_factory.mktemp("results") / "rows.jsonl"
    summary = score_paths(ScoreRun(paths=[media, media / "vanished.jpg"], out=out, urls=[triton.grpc_url]))
    assert summary.exit_status == 1
    assert (summary.found.skipped, summary.tally.no_face) == (1, 1)
    return out


@pytest.fixture(scope="module")
def rows(results: Path, media: Path) -> dict[str, Row]:
    found = list(read_rows(results))
    by_name = {os.path.relpath(real_path(row.path), media): row for row in found}
    assert len(by_name) == len(found)
    return by_name


def test_every_file_has_one_row_and_nothing_else_has(rows: dict[str, Row], astronaut: np.ndarray) -> None:
    others = {
        "folder.jpg/inside.jpg",
        os.fsdecode(b"\xe9 100%.jpg"),
        "circle.jpg",
        "landscape.png",
        "vanished.jpg",
    }
    assert rows.keys() == unreadable(astronaut).keys() | odd(astronaut).keys() | others


def test_what_cannot_be_read_says_why(rows: dict[str, Row], astronaut: np.ndarray) -> None:
    expected = {name: code for name, (_, code) in unreadable(astronaut).items()}
    expected |= {"circle.jpg": "symlink_loop", "vanished.jpg": "not_found"}
    failed = {name: row for name, row in rows.items() if row.status == "error"}
    assert {name: row.error.code for name, row in failed.items() if row.error} == expected
    for row in failed.values():
        assert (row.verdict, row.p_fake, row.num_faces, row.model) == (None, None, None, None)
        assert row.error is not None
        assert len(row.error.message) > 5
        assert "ensemble" not in row.error.message


def test_what_is_odd_is_scored_and_said(rows: dict[str, Row], astronaut: np.ndarray) -> None:
    for name, (_, warnings) in odd(astronaut).items():
        row = rows[name]
        assert (row.status, row.num_faces, row.warnings) == ("ok", 1, warnings), name
        assert (row.width, row.height) == (512, 512)
        assert row.faces[0].box is not None
        np.testing.assert_allclose(row.faces[0].box, FACE_BOX, atol=12, err_msg=name)  # tones move it a little
        assert row.verdict in ("fake", "real")


def test_a_turned_photograph_is_boxed_upright(rows: dict[str, Row]) -> None:
    turned, plain = rows["turned.jpg"].faces[0], rows["plain.jpg"].faces[0]
    np.testing.assert_allclose(turned.box, plain.box, atol=2)  # JPEG blocks fall elsewhere
    np.testing.assert_allclose(turned.landmarks, plain.landmarks, atol=2)
    assert turned.p_fake == pytest.approx(plain.p_fake, abs=0.1)


def test_no_face_is_no_number(rows: dict[str, Row]) -> None:
    row = rows["landscape.png"]
    assert (row.status, row.verdict, row.p_fake, row.num_faces) == ("no_face", "no_face", None, 0)
    assert row.model is not None


def test_the_row_of_a_name_that_is_not_utf8_is_text(rows: dict[str, Row]) -> None:
    row = rows[os.fsdecode(b"\xe9 100%.jpg")]
    assert row.path.endswith("%E9 100%25.jpg")
    assert row.status == "ok"


def test_the_same_pixels_have_the_same_score(rows: dict[str, Row]) -> None:
    same = [rows[name] for name in ("plain.jpg", "progressive.jpg", "folder.jpg/inside.jpg")]
    assert {row.p_fake for row in same} == {rows["plain.jpg"].p_fake}


def test_rows_name_the_model_that_answered(rows: dict[str, Row]) -> None:
    model = rows["plain.jpg"].model
    assert model is not None
    assert {"name", "artifact_id", "spec", "spec_id", "threshold", "detector"} <= model.keys()
    assert model["detector"] == "mtcnn"


def test_parameters_reach_the_server(triton: RunningServer, media: Path) -> None:
    with Scorer(triton.grpc_url, ScoreOptions(parameters={"min_face_px": 400.0})) as scorer:
        assert scorer.score(media / "plain.jpg").status == "no_face"
    with Scorer(triton.grpc_url, ScoreOptions(parameters={"detector_threshold": 0.0})) as scorer:
        assert (scorer.score(media / "plain.jpg").num_faces or 0) >= 1


def test_ready_crops_score_as_they_do_in_the_ensemble(
    triton: RunningServer, tmp_path: Path, face_crops: np.ndarray
) -> None:
    for index, crop in enumerate([*face_crops, *face_crops[:, ::-1]]):  # 96, more than the encoder's largest batch
        Image.fromarray(crop).save(tmp_path / f"{index:02d}.png")
    (tmp_path / "text.png").write_text("no picture")
    with Scorer(triton.grpc_url, ScoreOptions(crops=True, crop_batch=96)) as scorer:
        by_name = {Path(row.path).name: row for row in scorer.score_many([tmp_path])}
    with Scorer(triton.grpc_url, ScoreOptions(crops=True)) as scorer:
        alone = scorer.score(tmp_path / "07.png")
    assert len(by_name) == 2 * len(face_crops) + 1
    assert by_name.pop("text.png").status == "error"
    assert {row.status for row in by_name.values()} == {"ok"}
    assert by_name["07.png"].p_fake == pytest.approx(alone.p_fake, abs=1e-5)
    assert np.std([row.p_fake for row in by_name.values()]) > 0.2  # each crop has its own score


def test_the_report_shows_the_pictures(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(results, out, "only a test")
    page = out.read_text(encoding="utf-8")
    assert page.count("data:image/webp") == 13  # ten odd ones, the folder's, the landscape, the one of another encoding
    assert "too_many_pixels" in page
