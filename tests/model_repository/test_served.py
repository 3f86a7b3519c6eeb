"""The ensemble on a real tritonserver, against the same steps in process."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import skimage.data
import tritonclient.grpc as grpcclient
from onnx import numpy_helper
from tritonclient.utils import InferenceServerException

from export.publishing import publish
from lnclip.artifact import Artifact
from lnclip.detection import choose_faces, letterbox
from lnclip.detectors import load_detector
from lnclip.engines import TorchRunner
from lnclip.errors import ServerError
from lnclip.intake import read_image
from lnclip.preprocess import Faces, cut_faces
from lnclip.scoring import RequestParameters
from lnclip.spec import PreprocessSpec
from server.control import load_model
from server.embedded import StartOptions, discard, start
from tests.conftest import encoded, jpeg

pytestmark = pytest.mark.slow

FP32 = 1e-4
"""Largest |dp| between the served FP32 graph and torch: 1e-5 for the engine, and the crops are equal."""


class Answer(NamedTuple):
    verdict: str
    p_fake: list[float]
    face_p_fake: np.ndarray
    face_box: np.ndarray
    face_landmarks: np.ndarray
    face_flags: list[str]
    frame_size: list[int]
    warnings: list[str]
    model: dict


def score(server, image: bytes, **parameters: object) -> Answer:
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        tensor = grpcclient.InferInput("image", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([image], np.object_))
        result = client.infer("deepfake_detector", [tensor], parameters=parameters or None, client_timeout=60)
    read = result.as_numpy
    return Answer(
        read("verdict")[0].decode(), read("p_fake").tolist(), read("face_p_fake"), read("face_box"),
        read("face_landmarks"), [word.decode() for word in read("face_flags")], read("frame_size").tolist(),
        [word.decode() for word in read("warnings")], json.loads(read("model")[0]),
    )  # fmt: skip


def faces_in_process(repository: Path, image: bytes, spec: PreprocessSpec) -> Faces:
    frame = read_image(image).pixels
    detector = load_detector(repository / "face_detector" / "1")
    choice = RequestParameters().face_choice(detector.detector_id, cap=64)
    found = choose_faces(detector.detect(letterbox(frame)[None]), frame.shape[1::-1], choice)
    return cut_faces(frame, found, detector.detector_id, spec)


@pytest.fixture(scope="module")
def group(astronaut, grace_hopper) -> np.ndarray:
    """Both people in one picture, at different sizes."""
    return np.hstack([astronaut, grace_hopper[:512]])


def test_the_server_answers_what_the_training_pipeline_computes(
    triton, repository, random_run, spec, astronaut, grace_hopper, group
):
    with TorchRunner(random_run) as torch_runner:
        scores = []
        for picture in (astronaut, grace_hopper, group, np.ascontiguousarray(group[:, ::-1])):
            image = jpeg(picture)
            faces, answer = faces_in_process(repository, image, spec), score(triton, image)
            expected = torch_runner.run(faces.crops).p_fake[:, 0]
            np.testing.assert_allclose(answer.face_p_fake, expected, atol=FP32)
            np.testing.assert_array_equal(answer.face_box, faces.detections.boxes)
            np.testing.assert_array_equal(answer.face_landmarks, faces.detections.landmarks)
            assert answer.face_flags == faces.flags
            assert answer.p_fake == pytest.approx([float(expected.max())], abs=FP32)
            assert answer.frame_size == [picture.shape[1], picture.shape[0]]
            scores.extend(expected)
    assert np.ptp(scores) > 0.05, "one number for everything would pass too"


def test_known_photographs_have_their_faces(triton, astronaut, grace_hopper):
    for picture, box in ((astronaut, (181, 62, 268, 172)), (grace_hopper, (174, 120, 356, 340))):
        answer = score(triton, encoded(picture, "PNG"))
        np.testing.assert_allclose(answer.face_box, [box], atol=12)
        eyes_nose = answer.face_landmarks[0]
        assert eyes_nose[0, 0] < eyes_nose[2, 0] < eyes_nose[1, 0], "left eye, nose, right eye"


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_no_face_is_a_verdict_without_a_number(triton, name):
    answer = score(triton, jpeg(getattr(skimage.data, name)()))
    assert (answer.verdict, answer.p_fake) == ("no_face", [])
    assert answer.face_box.shape == (0, 4)
    assert answer.face_landmarks.shape == (0, 5, 2)
    assert answer.model["detector"] == "mtcnn"


def test_the_answer_names_the_weights(triton, repository, astronaut):
    identity = Artifact.load(repository / "face_encoder" / "1" / "model.json").identity
    model = score(triton, jpeg(astronaut)).model
    assert model["artifact_id"] == identity.artifact_id.hex
    assert model["spec_id"] == identity.spec.spec_id.hex
    assert model["threshold"] == identity.threshold
    assert PreprocessSpec.model_validate(model["spec"]) == identity.spec


def test_request_parameters_reach_their_steps(triton, group):
    image = jpeg(group)
    every = score(triton, image)
    largest, smaller = every.face_p_fake
    assert every.p_fake == [max(largest, smaller)]
    assert score(triton, image, aggregate="mean").p_fake == pytest.approx([(largest + smaller) / 2], abs=1e-6)
    assert score(triton, image, aggregate="largest").p_fake == [largest]
    assert score(triton, image, max_faces=1).face_p_fake.tolist() == [largest]
    assert len(score(triton, image, min_face_px=120).face_p_fake) == 1
    assert score(triton, image, detector_threshold=1.0).verdict == "no_face"


@pytest.mark.parametrize("given", [{"max_faces": 0}, {"aggregate": "median"}, {"min_face_px": -1.0}])
def test_a_parameter_that_cannot_be_is_named(triton, astronaut, given):
    with pytest.raises(InferenceServerException, match=next(iter(given))) as caught:
        score(triton, jpeg(astronaut), **given)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_bad_image_fails_alone(triton, astronaut):
    good, bad = jpeg(astronaut), jpeg(astronaut)[:4000]
    alone = score(triton, good)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(score, triton, bad if index % 4 == 0 else good) for index in range(24)]
    for index, future in enumerate(futures):
        if index % 4 == 0:
            with pytest.raises(InferenceServerException, match="truncated: ") as caught:
                future.result()
            assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        else:
            np.testing.assert_allclose(future.result().face_p_fake, alone.face_p_fake, atol=FP32)


@pytest.fixture
def copy(repository, tmp_path) -> Path:
    """A repository that a test may damage."""
    return Path(shutil.copytree(repository, tmp_path / "repository"))


@pytest.fixture
def own_server(copy, tmp_path):
    """Starts a server on that copy when called; stopped at the end."""
    run_dir = tmp_path / ".run"
    yield lambda: start(StartOptions(repository=copy, run_dir=run_dir))
    discard(run_dir)


def test_a_nan_is_an_error_never_a_verdict(copy, own_server, astronaut):
    path = copy / "face_encoder" / "1" / "model.onnx"
    graph = onnx.load(path)
    [bias] = [tensor for tensor in graph.graph.initializer if tensor.dims == [2] and tensor.data_type == 1]
    bias.CopyFrom(numpy_helper.from_array(np.full(2, np.nan, np.float32), bias.name))
    onnx.save(graph, path)
    server = own_server()
    with pytest.raises(InferenceServerException, match="no number") as caught:
        score(server, jpeg(astronaut))
    assert caught.value.status() == "StatusCode.INTERNAL"


def another_spec(copy: Path) -> PreprocessSpec:
    spec = PreprocessSpec(crop_scale=1.5)
    (copy / "face_aligner" / "1" / "spec.json").write_text(spec.model_dump_json())
    return spec


def test_crops_cut_for_another_spec_are_an_error(copy, own_server, astronaut, spec):
    server = own_server()
    other = another_spec(copy)
    load_model(server, "face_aligner")
    with pytest.raises(InferenceServerException, match=f"{other.spec_id.hex}.*{spec.spec_id.hex}") as caught:
        score(server, jpeg(astronaut))
    assert caught.value.status() == "StatusCode.INTERNAL"


def test_an_encoder_does_not_load_beside_an_aligner_of_another_spec(copy, tmp_path, spec):
    other = another_spec(copy)
    with pytest.raises(ServerError, match=f"(?s){other.spec_id.hex}.*{spec.spec_id.hex}"):
        start(StartOptions(repository=copy, run_dir=tmp_path / ".run"))


def test_a_new_version_answers_after_a_reload(copy, own_server, exported, astronaut):
    server = own_server()
    before = score(server, jpeg(astronaut))
    version = publish(exported, copy)
    load_model(server, "face_encoder")
    assert version == 2
    assert score(server, jpeg(astronaut)).face_p_fake == pytest.approx(before.face_p_fake, abs=1e-6)
