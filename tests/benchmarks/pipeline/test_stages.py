"""The stages in this process: every one is measured, on the faces that are there."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.corpus import write_corpus
from benchmarks.pipeline.served_stages import ServedStages, measure_stages
from benchmarks.pipeline.stages import Stages
from benchmarks.random_service import RandomModel
from lnclip.errors import ArtifactError, LnclipError

STAGES = {"decode", "detect", "align", "encode", "verdict", "encode_batched"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    pictures = write_corpus(tmp_path_factory.mktemp("corpus"), 3, sizes=((640, 480),), faces=(0, 1, 2))
    return [picture.path for picture in sorted(pictures, key=lambda picture: picture.num_faces)]


@pytest.mark.slow
def test_a_pass_scores_every_face_and_encodes_a_black_crop_where_there_is_none(
    tiny_model: RandomModel, paths: list[Path]
) -> None:
    with Stages(tiny_model.repository) as stages:
        found = stages.run([path.read_bytes() for path in paths], 2)
    assert [len(scores) for scores in found.face_p_fake] == [0, 1, 2]
    assert all(((scores > 0) & (scores < 1)).all() for scores in found.face_p_fake)
    assert found.crops.shape == (1 + 1 + 2, 224, 224, 3)
    assert not found.crops[0].any()
    assert found.crops[1:].any(axis=(1, 2, 3)).all()


@pytest.mark.slow
def test_the_serving_environment_computes_the_same(tiny_model: RandomModel, paths: list[Path]) -> None:
    contents = [path.read_bytes() for path in paths]
    with Stages(tiny_model.repository) as here, ServedStages(tiny_model.repository) as there:
        ours, theirs = here.run(contents, 2), there.run(contents, 2)
        assert theirs.costs.keys() == ours.costs.keys()
        np.testing.assert_array_equal(theirs.crops, ours.crops)
        for p_theirs, p_ours in zip(theirs.face_p_fake, ours.face_p_fake, strict=True):
            np.testing.assert_allclose(p_theirs, p_ours, atol=1e-6)
        with pytest.raises(LnclipError, match="not a JPEG"):
            there.run([b"not a picture"])
        assert len(there.run(contents).face_p_fake) == 3  # it goes on


@pytest.mark.slow
def test_every_round_has_a_cost_for_every_stage(tiny_model: RandomModel, paths: list[Path]) -> None:
    times = {time.stage: time for time in measure_stages(tiny_model.repository, paths, 2, encoder_batch=3)}
    assert set(times) == STAGES
    assert times["encode"].batch == pytest.approx(4 / 3)
    assert (times["encode_batched"].batch, times["decode"].batch) == (3.0, 1.0)
    for time in times.values():
        assert len(time.samples) == 2
        assert all(cost.wall_ms > 0 and cost.cpu_ms > 0 for cost in time.samples)
    for stage in ("decode", "align", "verdict"):  # one thread: no more CPU time than time, but for the clocks' grain
        assert times[stage].cpu_ms.low <= times[stage].wall_ms.high + 0.5


@pytest.mark.slow
def test_costs_in_batches_are_those_of_an_images_faces(tiny_model: RandomModel, paths: list[Path]) -> None:
    """Three faces in batches of two are two batches: of four encoded faces an image's share is one."""
    calls: list[int] = []
    with Stages(tiny_model.repository) as stages:
        run = stages.runner.run

        def counted(crops: np.ndarray):
            calls.append(len(crops))
            return run(crops)

        stages.runner.run = counted
        contents = [path.read_bytes() for path in paths]
        stages.run(contents, 2)
        assert calls == [1, 1, 2, 2, 2, 2]  # the images' own, a black one too; one that compiles, the two that count
        calls.clear()
        found = stages.run(contents, 2)
        assert calls == [1, 2, 2, 2]  # the black one's answer is known
        assert "encode_batched" in found.costs
        assert "encode_batched" not in stages.run(contents).costs


@pytest.mark.slow
def test_opencv_has_its_threads_back_afterwards(tiny_model: RandomModel) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        with Stages(tiny_model.repository):
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


@pytest.mark.slow
def test_a_file_that_is_no_image_is_an_error(tiny_model: RandomModel, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not a picture")
    with pytest.raises(LnclipError, match="not a JPEG"):
        measure_stages(tiny_model.repository, [tmp_path / "a.jpg"], 1)


def test_a_repository_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no published encoder"):
        Stages(tmp_path)
    with pytest.raises(LnclipError, match="no published encoder"), ServedStages(tmp_path):
        pass


@pytest.mark.parametrize("arguments", [([], 1, 8), ([Path(os.devnull)], 0, 8), ([Path(os.devnull)], 1, 0)])
def test_nothing_to_measure_is_refused(tmp_path: Path, arguments: tuple[list[Path], int, int]) -> None:
    images, rounds, batch = arguments
    with pytest.raises(LnclipError, match="at least"):
        measure_stages(tmp_path, images, rounds, encoder_batch=batch)
