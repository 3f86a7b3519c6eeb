"""`benchmarks client`: every file is another picture, all are scored, and the record holds what was measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.client_overhead import Cost, run, write_photos


def test_every_photo_is_a_720p_jpeg_of_its_own(tmp_path: Path) -> None:
    paths = write_photos(tmp_path / "photos", 45)
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == 45
    for path in paths[-6:]:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.size) == ("JPEG", (1280, 720))
    assert min(path.stat().st_size for path in paths) > 60_000


def test_a_millisecond_an_image_is_a_tenth_of_a_core_at_100_a_second() -> None:
    assert Cost("", cpu_ms=1.0, images_per_s=7.0).core_share == pytest.approx(0.1)


@pytest.mark.slow
def test_a_run_leaves_a_record_with_raw_samples(tmp_path: Path) -> None:
    text = run(images=40, rounds=2, out=tmp_path)
    (path,) = tmp_path.glob("*_client.json")
    record = json.loads(path.read_text())
    assert [row["what"] for row in record["rows"]] == [
        "client score",
        "client score, 100 images/s",
        "tritonclient's infer alone",
        "tritonclient's infer alone, 100 images/s",
    ]
    assert all(len(costs) == 2 and min(cost["cpu_ms"] for cost in costs) > 0 for costs in record["samples"])
    at_once, paced, *_ = record["rows"]
    assert paced["images_per_s"] < 110 < at_once["images_per_s"]
    assert "CPU ms/image" in text
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
