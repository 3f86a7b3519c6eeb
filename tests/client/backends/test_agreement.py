"""Three ways to one row: the served ensemble, two calls to a server, and no server at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from client import Row, ScoreOptions, Scorer
from client.calling import Parameters
from client.options import Way
from lnclip.running import RunningServer
from tests.client.test_served import odd, unreadable
from tests.conftest import encoded, jpeg

pytestmark = pytest.mark.slow

FP32 = 1e-5
"""Largest |dp| between two batches of one graph; crops are equal to the pixel."""

PARAMETERS: dict[str, Parameters] = {
    "defaults": {},
    "few": {"max_faces": 2, "aggregate": "mean"},
    "any": {"detector_threshold": 0.3, "min_face_px": 5.0, "aggregate": "largest", "max_faces": 100},
}


def crowd(astronaut: np.ndarray, grace_hopper: np.ndarray) -> Image.Image:
    """Six faces, of which five are found at least: large and small, blurred, turned, cut by the border."""
    canvas = Image.new("RGB", (1400, 900), (90, 110, 130))
    woman, man = Image.fromarray(astronaut), Image.fromarray(grace_hopper)
    canvas.paste(woman, (0, 0))
    canvas.paste(man, (520, 0))
    canvas.paste(woman.resize((200, 200)), (1060, 20))
    canvas.paste(man.filter(ImageFilter.GaussianBlur(6)), (880, 240))
    canvas.paste(woman.rotate(20), (0, 520))
    canvas.paste(woman, (1140, 580))
    return canvas


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, grace_hopper: np.ndarray) -> Path:
    """Every kind of odd and bad file, several faces, none."""
    folder = tmp_path_factory.mktemp("media")
    group = crowd(astronaut, grace_hopper)
    files = {name: content for name, (content, _) in (unreadable(astronaut) | odd(astronaut)).items()} | {
        "crowd.jpg": jpeg(np.asarray(group)),
        "crowd_small.png": encoded(np.asarray(group.resize((630, 405))), "PNG"),
        "crowd_large.jpg": jpeg(np.asarray(group.resize((2800, 1800)))),
        "man.jpg": jpeg(grace_hopper),
        "landscape.png": encoded(np.full((240, 320, 3), 120, np.uint8), "PNG"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def rows(media: Path, url: str | None, options: ScoreOptions) -> dict[str, Row]:
    with Scorer(url, options) as scorer:
        found = list(scorer.score_many([media]))
    assert len({row.path for row in found}) == len(found)
    return {Path(row.path).name: row for row in found}


def assert_same(ours: dict[str, Row], served: dict[str, Row]) -> None:
    """Every field but the time it took; p_fake as precisely as FP32 gives it in another batch."""
    assert ours.keys() == served.keys()
    for name, expected in served.items():
        row = ours[name]
        assert row.p_fake == (None if expected.p_fake is None else pytest.approx(expected.p_fake, abs=FP32)), name
        faces = [face.model_copy(update={"p_fake": 0}) for face in row.faces]
        assert faces == [face.model_copy(update={"p_fake": 0}) for face in expected.faces], name
        scores = [face.p_fake for face in expected.faces]
        assert [face.p_fake for face in row.faces] == pytest.approx(scores, abs=FP32), name
        others = {"elapsed_ms", "p_fake", "faces"}
        assert row.model_dump(exclude=others) == expected.model_dump(exclude=others), name


@pytest.fixture(scope="module", params=PARAMETERS)
def parameters(request: pytest.FixtureRequest) -> Parameters:
    return PARAMETERS[request.param]


@pytest.fixture(scope="module")
def served(triton: RunningServer, media: Path, parameters: Parameters) -> dict[str, Row]:
    return rows(media, triton.grpc_url, ScoreOptions(parameters=parameters))


@pytest.mark.parametrize("way", ["local", "two_calls"])
def test_every_way_gives_the_rows_of_the_ensemble(
    way: Way, triton: RunningServer, repository: Path, media: Path, parameters: Parameters, served: dict[str, Row]
) -> None:
    options = ScoreOptions(parameters=parameters, way=way, repository=repository)
    assert_same(rows(media, triton.grpc_url, options), served)


def test_the_media_show_what_the_ways_could_differ_in(served: dict[str, Row], parameters: Parameters) -> None:
    assert {row.status for row in served.values()} == {"ok", "no_face", "error"}
    group = served["crowd.jpg"]
    assert len(group.faces) == 2 if parameters.get("max_faces") == 2 else len(group.faces) >= 5
    if not parameters:
        flags = {flag for row in served.values() for face in row.faces for flag in face.flags}
        assert flags >= {"small", "blurred", "touches_border"}
        assert np.ptp([face.p_fake for face in group.faces]) > 0.2


def test_ready_crops_are_scored_without_a_server_as_with_one(
    triton: RunningServer, repository: Path, tmp_path: Path, face_crops: np.ndarray
) -> None:
    for index, crop in enumerate(face_crops):
        Image.fromarray(crop).resize((200 + index, 200 + index)).save(tmp_path / f"{index:02d}.png")
    (tmp_path / "text.png").write_text("no picture")
    served = rows(tmp_path, triton.grpc_url, ScoreOptions(crops=True))
    local = rows(tmp_path, None, ScoreOptions(crops=True, crop_batch=7, way="local", repository=repository))
    assert len(served) == len(face_crops) + 1
    assert_same(local, served)
