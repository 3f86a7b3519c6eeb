"""The papers' path is what it says: stock modules, the same bytes into the network as ours, one face per call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip.transformer
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.corpus import write_corpus
from benchmarks.pipeline.papers_path import PapersPath, native_crop, plain_network
from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact
from lnclip.detection import choose_faces, letterbox
from lnclip.detectors import load_detector
from lnclip.engines import TorchRunner
from lnclip.errors import ConfigError
from lnclip.intake import read_image
from lnclip.preprocess import align, fit_input, normalise
from lnclip.scoring import RequestParameters
from lnclip.spec import FIVE_POINTS, PreprocessSpec

SAME_WEIGHTS = 1e-5
"""Of p_fake: as FP32's own limit, sums in another order."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    pictures = write_corpus(tmp_path_factory.mktemp("photos"), 6, sizes=[(640, 480), (1280, 720)], faces=[0, 1, 2, 4])
    return [picture.path for picture in pictures]


def faces_of(path: Path, detector_folder: Path) -> tuple[np.ndarray, np.ndarray]:
    frame, ours = read_image(path.read_bytes()).pixels, load_detector(detector_folder)
    choice = RequestParameters().face_choice(ours.detector_id, 64)
    candidates = ours.detect(letterbox(frame)[None])
    return frame, choose_faces(candidates, (frame.shape[1], frame.shape[0]), choice).landmarks


def test_an_upright_face_of_200_px_is_cut_with_30_px_around_it():
    frame = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    # 200 / 1 between all pairs, so 1.3 x 200 = 260 px; (t + 0.15) / 1.3 x 260 = 200 t + 30: moved, nothing else.
    crop = native_crop(frame, np.array(FIVE_POINTS, np.float32) * 200)
    assert crop.shape == (260, 260, 3)
    np.testing.assert_array_equal(crop[30:, 30:], frame[:230, :230])
    assert not crop[:30].any()


def test_crops_have_the_bytes_of_ours(detector_folder: Path, photos: list[Path]):
    spec, compared = PreprocessSpec(), 0
    for path in photos:
        frame, faces = faces_of(path, detector_folder)
        for landmarks in faces:
            np.testing.assert_array_equal(native_crop(frame, landmarks), align(frame, landmarks, spec))
            compared += 1
    assert compared >= 8


def test_the_network_gets_the_numbers_that_ours_gets(random_run: Path, detector_folder: Path, photos: list[Path]):
    path, spec = PapersPath(random_run, detector_folder), PreprocessSpec()
    frame, faces = next(found for photo in photos if len((found := faces_of(photo, detector_folder))[1]))
    crop = native_crop(frame, faces[0])
    np.testing.assert_array_equal(path._network_input(crop).numpy(), normalise(fit_input(crop, spec)[None], spec)[0])


def test_its_network_is_open_clips_own_with_our_weights(random_run: Path, face_crops: np.ndarray):
    identity = Artifact.load(random_run / "model.json").identity
    tower, head = plain_network(identity, load_file(random_run / "weights.safetensors"))
    blocks = tower.transformer.resblocks
    assert {type(block) for block in blocks} == {open_clip.transformer.ResidualAttentionBlock}
    assert {type(block.attn) for block in blocks} == {torch.nn.MultiheadAttention}
    with torch.inference_mode():
        features = torch.nn.functional.normalize(tower(torch.from_numpy(normalise(face_crops, identity.spec))), dim=1)
        p_fake = (head(features) / identity.temperature).softmax(dim=1)[:, 1].numpy()
    with TorchRunner(random_run) as ours:
        np.testing.assert_allclose(p_fake, ours.run(face_crops).p_fake[:, 0], atol=SAME_WEIGHTS, rtol=0)


def test_the_network_sees_one_face_per_call_unless_told_otherwise(
    random_run: Path, detector_folder: Path, photos: list[Path]
):
    path, batches = PapersPath(random_run, detector_folder), []
    path._tower.register_forward_hook(lambda _, given, __: batches.append(len(given[0])))
    counts = [len(faces_of(photo, detector_folder)[1]) for photo in photos]
    alone = [path.score(photo) for photo in photos]
    assert [len(scores) for scores in alone] == counts
    assert batches == [1] * sum(counts)
    batches.clear()
    together = [path.score(photo, faces_per_call=64) for photo in photos]
    assert batches == [count for count in counts if count]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=SAME_WEIGHTS, rtol=0)


def test_an_encoder_that_is_no_clip_is_refused(random_run: Path):
    identity = Artifact.load(random_run / "model.json").identity
    other = identity.model_copy(update={"encoder": KNOWN["DINOv3-B-16"]})
    with pytest.raises(ConfigError, match="DINOv3-B-16 is not one of"):
        plain_network(other, {})
