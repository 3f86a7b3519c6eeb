"""OpenVINO with several streams: a batch in parts answers what the whole one does."""

import numpy as np
import pytest

from lnclip.engines import OpenVinoRunner, openvino_settings

P_TOLERANCE = 1e-5
"""Of FP32; parts have other batch sizes, and those may round otherwise."""


@pytest.mark.parametrize("batch", [1, 2, 5, 16])
@pytest.mark.parametrize("streams", [1, 2, 3])
def test_streams_change_no_answer_and_no_order(exported, face_crops, batch, streams):
    path = exported / "face_encoder.fp32.onnx"
    with OpenVinoRunner(path, "fp32") as whole, OpenVinoRunner(path, "fp32", streams=streams) as parts:
        expected, found = whole.run(face_crops[:batch]), parts.run(face_crops[:batch])
    assert expected.p_fake.std() > 0.05 or batch == 1, "crops that score alike would hide a wrong order"
    for name, one, other in zip(expected._fields, expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=P_TOLERANCE, err_msg=name)
        assert other.dtype == one.dtype


def test_earlier_answers_of_streams_stay(exported, face_crops):
    with OpenVinoRunner(exported / "face_encoder.fp32.onnx", "fp32", streams=2) as runner:
        first = runner.run(face_crops[:4])
        kept = first.p_fake.copy()
        runner.run(face_crops[4:8])
    np.testing.assert_array_equal(first.p_fake, kept)


def test_without_numbers_openvino_is_told_what_it_was_before():
    assert openvino_settings("fp32", None) == {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    assert openvino_settings("fp32", 3, 2) == {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 3,
        "NUM_STREAMS": 2,
    }
