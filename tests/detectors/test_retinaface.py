"""RetinaFace's graph against the package's own decoding, on random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.retinaface_export import build_network, priors
from lnclip.contract import CONTRACT
from lnclip.detection import PADDING, Candidates, letterbox, nms
from lnclip.detectors import Detector, DetectorCard, load_detector
from lnclip.identity import file_sha256
from lnclip.retinaface_onnx import RetinaFaceOnnx

PIXEL_TOLERANCE = 1e-3
"""Of boxes and landmarks; both sides compute in FP32, on coordinates up to a thousand."""

SCORE_TOLERANCE = 1e-5


def test_the_network_has_the_published_shape() -> None:
    network = build_network()
    assert len(network.state_dict()) == 456
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == 27_351_657


def test_priors_are_the_package_s() -> None:
    from retinaface.prior_box import priorbox

    theirs = priorbox([[16, 32], [64, 128], [256, 512]], [8, 16, 32], clip=False, image_size=(640, 640))
    torch.testing.assert_close(priors(640), theirs * 640, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def folder(retinaface_repository: Path) -> Path:
    return retinaface_repository / "face_detector" / "1"


@pytest.fixture(scope="module")
def detector(folder: Path) -> Detector:
    return load_detector(folder)


@pytest.fixture(scope="module")
def letterboxes(astronaut: np.ndarray, grace_hopper: np.ndarray) -> np.ndarray:
    return np.stack([letterbox(astronaut), letterbox(grace_hopper)])


@pytest.fixture(scope="module")
def golden(letterboxes: np.ndarray, random_tensors: dict[str, torch.Tensor]) -> list[dict[str, np.ndarray]]:
    """All 16800 rows of each letterbox, by the package's box_utils and prior_box."""
    from retinaface.box_utils import decode, decode_landm
    from retinaface.prior_box import priorbox

    network = build_network()
    network.load_state_dict(random_tensors)
    mean, std = (torch.tensor(rgb)[:, None, None] for rgb in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = torch.from_numpy(letterboxes).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        offsets, classes, landmarks = network((pixels - mean) / std)
    boxes = priorbox([[16, 32], [64, 128], [256, 512]], [8, 16, 32], clip=False, image_size=(640, 640))
    return [
        {
            "boxes": (decode(offsets[index], boxes, [0.1, 0.2]) * 640).numpy(),
            "scores": classes[index].softmax(dim=-1)[:, 1].numpy(),
            "landmarks": (decode_landm(landmarks[index], boxes, [0.1, 0.2]) * 640).numpy(),
        }
        for index in range(len(letterboxes))
    ]


@pytest.fixture(scope="module")
def found(detector: Detector, letterboxes: np.ndarray) -> Candidates:
    return detector.detect(letterboxes)


def rows_of(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Rows of ``boxes`` that are ``box`` within the tolerance."""
    return np.flatnonzero(np.abs(boxes - box).max(axis=1) <= PIXEL_TOLERANCE)


@pytest.mark.slow
def test_the_scores_are_the_best_ones_in_order(found: Candidates, golden: list[dict[str, np.ndarray]]) -> None:
    for scores, expected in zip(found.scores, golden, strict=True):
        np.testing.assert_allclose(scores, np.sort(expected["scores"])[::-1][:256], atol=SCORE_TOLERANCE)
        assert np.ptp(scores) > 100 * SCORE_TOLERANCE  # else the order would mean nothing


@pytest.mark.slow
def test_every_row_is_one_of_the_package_s(found: Candidates, golden: list[dict[str, np.ndarray]]) -> None:
    """Rows of nearly the same score may change places, so each is looked up by its box."""
    for boxes, scores, landmarks, expected in zip(*found, golden, strict=True):
        seen = set()
        for box, score, points in zip(boxes, scores, landmarks, strict=True):
            [row] = rows_of(box, expected["boxes"])
            assert abs(expected["scores"][row] - score) <= SCORE_TOLERANCE
            np.testing.assert_allclose(points, expected["landmarks"][row], atol=PIXEL_TOLERANCE)
            seen.add(int(row))
        assert len(seen) == 256


@pytest.mark.slow
def test_after_suppression_the_same_faces_stay(found: Candidates, golden: list[dict[str, np.ndarray]]) -> None:
    from torchvision.ops import nms as torchvision_nms

    for boxes, scores, expected in zip(found.boxes, found.scores, golden, strict=True):
        best = np.argsort(-expected["scores"])[:256]
        candidates = torch.from_numpy(expected["boxes"][best])
        kept = torchvision_nms(candidates, torch.from_numpy(expected["scores"][best]), 0.4)
        theirs, ours = candidates[kept].numpy(), boxes[nms(boxes, scores)]
        assert len(ours) == len(theirs) > 1
        assert all(len(rows_of(box, theirs)) == 1 for box in ours)


@pytest.mark.slow
def test_a_batch_is_its_pictures_one_by_one(detector: Detector, letterboxes: np.ndarray, found: Candidates) -> None:
    alone = detector.detect(letterboxes[1:])
    np.testing.assert_allclose(alone.scores[0], found.scores[1], atol=SCORE_TOLERANCE)


@pytest.mark.slow
def test_padding_is_nothing_to_the_network(folder: Path) -> None:
    """The mean colour becomes 0, within a grey level."""
    from export.retinaface_export import ServedRetinaFace

    served = ServedRetinaFace(torch.nn.Identity())
    seen = torch.tensor(PADDING, dtype=torch.float32).reshape(3, 1, 1) * served.scale + served.shift
    assert seen.abs().max() < 1 / (255 * 0.224)


@pytest.mark.slow
def test_the_graph_is_the_served_contract(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx").graph
    kinds = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT32: "INT32"}

    def described(values: object) -> list[tuple[str, str, tuple[int, ...]]]:
        tensors = [(value.name, value.type.tensor_type) for value in values]
        return [
            (name, kinds[kind.elem_type], tuple(side.dim_value for side in kind.shape.dim[1:]))
            for name, kind in tensors
            if kind.shape.dim[0].dim_param == "batch"
        ]

    contract = CONTRACT["face_detector"]
    assert described(graph.input) == [tuple(tensor) for tensor in contract.inputs]
    assert described(graph.output) == [tuple(tensor) for tensor in contract.outputs]
    assert {node.op_type for node in graph.node if "letterbox" in node.input} == {"Cast"}
    assert "NonMaxSuppression" not in {node.op_type for node in graph.node}


@pytest.mark.slow
def test_the_graph_says_who_detected(folder: Path, letterboxes: np.ndarray) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    [detector_id] = session.run(["detector_id"], {"letterbox": letterboxes})
    np.testing.assert_array_equal(detector_id, np.full((2, 1), RetinaFaceOnnx.detector_id, np.int32))


@pytest.mark.slow
def test_tensorrt_reads_the_graph(folder: Path) -> None:
    pytest.importorskip("tensorrt_rtx_libs")
    trt = pytest.importorskip("tensorrt_rtx_bindings")
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse((folder / "model.onnx").read_bytes()), parser.get_error(0).desc()
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    assert [(output.name, tuple(output.shape)) for output in outputs] == [
        ("boxes", (-1, 256, 4)),
        ("scores", (-1, 256)),
        ("landmarks", (-1, 256, 10)),
        ("detector_id", (-1, 1)),
    ]


@pytest.mark.slow
def test_the_card_names_the_weights(folder: Path, random_weights: Path) -> None:
    card = DetectorCard.load(folder)
    assert (card.name, card.weights_sha256) == ("retinaface", {random_weights.name: file_sha256(random_weights)})
    assert isinstance(load_detector(folder), RetinaFaceOnnx)
