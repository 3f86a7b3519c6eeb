"""Two calls against a peer whose model changes under way; agreement with a real server is test_agreement's."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from client.answers import ImageAnswer
from client.backends.served_models import ASKS
from client.backends.two_calls import MAX_FACES_CAP, TwoCallBackend
from client.calling import CallError, CallPolicy
from client.limits import Limit
from client.servers import Servers
from lnclip.contract import MAX_CANDIDATES
from lnclip.detection import Detections
from lnclip.errors import ServerError
from lnclip.identity import ContentId
from lnclip.preprocess import cut_faces
from lnclip.scoring import ServedModel
from lnclip.spec import PreprocessSpec
from tests.client.peer import Peer, RefusalError, sent_crops, serve, texts
from tests.conftest import ASTRONAUT_POINTS, ROOT, encoded

BOX = (180.0, 60.0, 268.0, 172.0)
SPEC = PreprocessSpec(input_px=32)
FIRST = ContentId(1, 2)


@dataclass
class World:
    """What the peer serves; p_fake is the mean of the crop's red."""

    artifact_id: ContentId = FIRST
    spec: PreprocessSpec = SPEC
    described: dict[str, object] = field(default_factory=dict)
    """Changes of what the ensemble says of the model."""

    asked: list[str] = field(default_factory=list)
    encoded: list[np.ndarray] = field(default_factory=list)

    def __call__(self, request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        self.asked.append(request.model_name)
        return {"deepfake_detector": self.ensemble, "face_detector": self.detector, "face_encoder": self.encoder}[
            request.model_name
        ](request)

    def ensemble(self, _: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        served = ServedModel(
            name=f"model-{self.artifact_id.low}", artifact_id=self.artifact_id.hex, spec_id=self.spec.spec_id.hex,
            spec=self.spec, precision="fp32", threshold=0.5, detector="mtcnn",
        )  # fmt: skip
        return {"model": texts(json.dumps(json.loads(served.model_dump_json()) | self.described))}

    def detector(self, request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        """The astronaut's face; a grey picture has none."""
        picture = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(640, 640, 3)
        boxes, landmarks = np.zeros((1, MAX_CANDIDATES, 4)), np.zeros((1, MAX_CANDIDATES, 10))
        boxes[0, 0], landmarks[0, 0] = BOX, np.ravel(ASTRONAUT_POINTS)
        scores = np.zeros((1, MAX_CANDIDATES))
        scores[0, 0] = 0.99 if np.ptp(picture[:400, :400]) > 0 else 0
        values = {"boxes": boxes, "scores": scores, "landmarks": landmarks}
        return {name: each.astype(np.float32) for name, each in values.items()} | {"detector_id": np.int32([[0]])}

    def encoder(self, request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
        crops = sent_crops(request)
        if crops.shape[1] != self.spec.input_px:
            message = f"[request id: <id_unknown>] unexpected shape for input 'crops', got {crops.shape}"
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, message)
        if (crops[..., 0] == crops[..., 1]).all(axis=(1, 2)).any():  # a grey face among them
            raise RefusalError(grpc.StatusCode.INTERNAL, "the encoder answered what is no number")
        self.encoded.append(crops)
        n = len(crops)
        return {
            "p_fake": crops[..., 0].mean((1, 2), keepdims=True)[:, 0].astype(np.float32) / 255,
            "threshold": np.full((n, 1), 0.5, np.float32),
            "artifact_id": np.tile(self.artifact_id.words(), (n, 1)),
            "spec_id": np.tile(self.spec.spec_id.words(), (n, 1)),
        }


def two_calls(url: str) -> TwoCallBackend:
    return TwoCallBackend(Servers([url], CallPolicy(retries=0), Limit(16)), {}, 32)


def expected_crop(photo: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    face = Detections(np.float32([BOX]), np.float32([ASTRONAUT_POINTS]), np.float32([0.99]))
    return cut_faces(photo, face, 0, spec).crops


def test_weights_that_change_under_way_are_named_in_the_next_row(astronaut: np.ndarray) -> None:
    world, image = World(), encoded(astronaut, "PNG")

    async def run(url: str) -> list[ImageAnswer]:
        async with two_calls(url) as backend:
            before = [await backend.answer(image) for _ in range(2)]
            world.artifact_id = ContentId(3, 4)
            return before + list(await asyncio.gather(*(backend.answer(image) for _ in range(3))))

    with serve(Peer(world)) as url:
        answers = asyncio.run(run(url))
    assert [answer.model["name"] for answer in answers] == ["model-2"] * 2 + ["model-4"] * 3
    assert world.asked.count("deepfake_detector") == 2  # at the beginning, and once for the new weights
    np.testing.assert_array_equal(world.encoded[0], expected_crop(astronaut, SPEC))
    assert answers[0].p_fake == pytest.approx(world.encoded[0][..., 0].mean() / 255, abs=1e-6)


@pytest.mark.parametrize(
    "changed", [PreprocessSpec(input_px=32, crop_scale=2.0), PreprocessSpec(input_px=48)], ids=["scale", "side"]
)
def test_crops_are_cut_again_when_the_weights_need_others(astronaut: np.ndarray, changed: PreprocessSpec) -> None:
    world, image = World(), encoded(astronaut, "PNG")

    async def run(url: str) -> list[ImageAnswer]:
        async with two_calls(url) as backend:
            await backend.answer(image)
            world.artifact_id, world.spec = ContentId(5, 6), changed
            return await asyncio.gather(*(backend.answer(image) for _ in range(12)))

    with serve(Peer(world)) as url:
        answers = asyncio.run(run(url))
    crop = expected_crop(astronaut, changed)
    np.testing.assert_array_equal(world.encoded[-1][:1], crop)
    for answer in answers:
        assert answer.model["spec_id"] == changed.spec_id.hex
        assert answer.p_fake == pytest.approx(crop[..., 0].mean() / 255, abs=1e-6)


def test_an_image_whose_faces_two_models_answered_is_sent_again(astronaut: np.ndarray) -> None:
    """The encoder takes one crop at a time, and is reloaded between the two of one image."""

    class SmallWorld(World):
        def detector(self, request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
            found = super().detector(request)
            for values in (found["boxes"], found["landmarks"], found["scores"]):
                values[0, 1] = values[0, 0]
            found["boxes"][0, 1] += [120, 0, 120, 0]
            return found

        def encoder(self, request: service_pb2.ModelInferRequest) -> dict[str, np.ndarray]:
            if len(sent_crops(request)) > 1:
                raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, "inference request batch-size must be <= 1")
            answer = super().encoder(request)
            self.artifact_id = ContentId(3, 4)
            return answer

    world = SmallWorld()

    async def run(url: str) -> ImageAnswer:
        async with two_calls(url) as backend:
            return await backend.answer(encoded(astronaut, "PNG"))

    with serve(Peer(world)) as url:
        answer = asyncio.run(run(url))
    assert (len(answer.faces), answer.model["name"]) == (2, "model-4")
    assert len(world.encoded) == 4


def test_a_face_that_the_encoder_fails_at_fails_its_image_alone(astronaut: np.ndarray) -> None:
    grey = np.repeat(astronaut[..., :1], 3, axis=2)
    world = World()

    async def run(url: str) -> list[ImageAnswer | BaseException]:
        images = [encoded(photo, "PNG") for photo in (astronaut, grey, astronaut, astronaut, astronaut, astronaut)]
        async with two_calls(url) as backend:
            return await asyncio.gather(*map(backend.answer, images), return_exceptions=True)

    with serve(Peer(world)) as url:
        answers = asyncio.run(run(url))
    failed = answers.pop(1)
    assert isinstance(failed, CallError)
    assert (failed.error.code, failed.error.message) == ("internal", "the encoder answered what is no number")
    assert [answer.verdict for answer in answers if isinstance(answer, ImageAnswer)] == [answers[0].verdict] * 5


def test_nothing_is_encoded_without_a_face() -> None:
    world = World()

    async def run(url: str) -> ImageAnswer:
        async with two_calls(url) as backend:
            return await backend.answer(encoded(np.full((480, 640, 3), 77, np.uint8), "PNG"))

    with serve(Peer(world)) as url:
        answer = asyncio.run(run(url))
    assert (answer.verdict, answer.p_fake, answer.faces) == ("no_face", None, ())
    assert answer.model["name"] == "model-2"
    assert "face_encoder" not in world.asked


def test_an_ensemble_of_another_version_is_an_error_at_the_beginning() -> None:
    async def run(url: str) -> None:
        async with two_calls(url):
            pass

    with (
        serve(Peer(World(described={"precision": None}))) as url,
        pytest.raises(ServerError, match="not of this version"),
    ):
        asyncio.run(run(url))


def test_weights_that_the_ensemble_does_not_know_are_an_error(astronaut: np.ndarray) -> None:
    world = World(described={"artifact_id": "0" * 16})

    async def run(url: str) -> None:
        async with two_calls(url) as backend:
            await backend.answer(encoded(astronaut, "PNG"))

    with serve(Peer(world)) as url, pytest.raises(CallError, match=f"artifact {world.artifact_id.hex} answered"):
        asyncio.run(run(url))
    assert world.asked.count("deepfake_detector") == 1 + ASKS


def test_the_cap_on_faces_is_that_of_the_served_aligner() -> None:
    config = (ROOT / "model_repository/face_aligner/config.pbtxt").read_text()
    assert re.search(r'"max_faces_cap" value \{ string_value: "(\d+)"', config)[1] == str(MAX_FACES_CAP)
