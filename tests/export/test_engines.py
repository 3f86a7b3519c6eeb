"""The runners: what they answer, what they refuse, and that the serving environment has them too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lnclip.artifact import Artifact
from lnclip.engines import (
    EncoderAnswer,
    OnnxRuntimeRunner,
    OpenVinoRunner,
    TorchRunner,
    finite_rows,
    openvino_settings,
    supports_bf16,
)
from lnclip.errors import ArtifactError, SetupError
from server.environment import SERVING_ENV

P_TOLERANCE = 1e-5


def test_torch_applies_head_and_temperature_as_written_here(random_run: Path, face_crops) -> None:
    identity = Artifact.load(random_run / "model.json").identity
    weights = load_file(random_run / "weights.safetensors")
    with TorchRunner(random_run) as runner:
        answer = runner.run(face_crops)
    assert identity.class_order == ("real", "fake")
    real, fake = (answer.embedding @ weights["head.weight"].T + weights["head.bias"]).T / identity.temperature
    np.testing.assert_allclose(answer.p_fake[:, 0], 1 / (1 + np.exp(real - fake)), atol=P_TOLERANCE)
    assert answer.p_fake.std() >= 0.25
    np.testing.assert_array_equal(answer.threshold, np.full((len(face_crops), 1), np.float32(identity.threshold)))


def test_engines_keep_earlier_answers(exported: Path, face_crops) -> None:
    with OpenVinoRunner(exported / "face_encoder.fp32.onnx", "fp32") as runner:
        first = runner.run(face_crops[:2])
        kept = first.p_fake.copy()
        runner.run(face_crops[2:4])
    np.testing.assert_array_equal(first.p_fake, kept)


def test_rows_that_are_not_numbers_are_told() -> None:
    ids = np.zeros((3, 2), np.int32)
    answer = EncoderAnswer(
        np.array([[0.5], [np.nan], [0.5]], np.float32),
        np.full((3, 1), 0.5, np.float32),
        ids,
        ids,
        np.array([[1, 0], [1, 0], [np.inf, 0]], np.float32),
    )
    assert finite_rows(answer).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "crops",
    [np.zeros((1, 224, 224, 3), np.float32), np.zeros((224, 224, 3), np.uint8), np.zeros((1, 3, 224, 224), np.uint8)],
)
def test_refuses_what_is_no_batch_of_crops(exported: Path, crops: np.ndarray) -> None:
    with (
        OnnxRuntimeRunner(exported / "face_encoder.fp32.onnx") as runner,
        pytest.raises(ValueError, match="must be uint8"),
    ):
        runner.run(crops)


def test_works_inside_its_with_block_only(exported: Path, face_crops) -> None:
    runner = OnnxRuntimeRunner(exported / "face_encoder.fp32.onnx")
    with runner:
        pass
    with pytest.raises(ValueError, match="with block"):
        runner.run(face_crops)


def test_openvino_is_always_told_its_precision() -> None:
    assert openvino_settings("fp32", None)["INFERENCE_PRECISION_HINT"] == "f32"
    assert openvino_settings("bf16", 2)["INFERENCE_PRECISION_HINT"] == "bf16"
    assert openvino_settings("bf16", 2)["INFERENCE_NUM_THREADS"] == 2


def test_bf16_without_the_hardware_is_refused(exported: Path) -> None:
    if supports_bf16():
        pytest.skip("this processor has bf16")
    with pytest.raises(SetupError, match="no bf16"), OpenVinoRunner(exported / "face_encoder.fp32.onnx", "bf16"):
        pass


@pytest.mark.parametrize("content", [None, b"", b"not a graph"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_missing_or_damaged_graph_is_named(tmp_path: Path, engine: str, content: bytes | None) -> None:
    path = tmp_path / "encoder.onnx"
    if content is not None:
        path.write_bytes(content)
    runner = OnnxRuntimeRunner(path) if engine == "onnxruntime" else OpenVinoRunner(path, "fp32")
    with pytest.raises(ArtifactError, match=r"encoder\.onnx"), runner:
        pass


IN_THE_SERVING_ENVIRONMENT = """
import json, sys
from pathlib import Path
import numpy
from lnclip.engines import OnnxRuntimeRunner, OpenVinoRunner
from lnclip.golden import Golden
export = Path(sys.argv[1])
crops = Golden.load(export / "golden.npz").crops
found = {"numpy": numpy.__version__}
graph = export / "face_encoder.fp32.onnx"
for runner in OnnxRuntimeRunner(graph), OpenVinoRunner(graph, "fp32"):
    with runner:
        answer = runner.run(crops)
    found[runner.name] = [answer.p_fake[:, 0].tolist(), answer.artifact_id[0].tolist(), answer.spec_id[0].tolist()]
found["torch"] = "torch" in sys.modules
print(json.dumps(found))
"""


def test_the_serving_environment_gives_the_same_answers(exported: Path) -> None:
    command = [SERVING_ENV / "bin" / "python", "-c", IN_THE_SERVING_ENVIRONMENT, exported]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found.pop("numpy").startswith("1.26")
    assert not found.pop("torch")
    identity = Artifact.load(exported / "model.fp32.json").identity
    reference = np.load(exported / "golden.npz")["p_fake"][:, 0]
    assert set(found) == {"onnxruntime fp32", "openvino fp32"}
    for p_fake, artifact_id, spec_id in found.values():
        np.testing.assert_allclose(p_fake, reference, atol=P_TOLERANCE)
        assert artifact_id == list(identity.artifact_id)
        assert spec_id == list(identity.spec.spec_id)
