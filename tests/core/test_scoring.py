import numpy as np
import pytest

from lnclip.errors import ConfigError, EngineError
from lnclip.scoring import RequestParameters, aggregate_faces, verdict

P = np.array([0.2, 0.9, 0.4], np.float32)
BOXES = np.array([[0, 0, 10, 10], [0, 0, 5, 5], [0, 0, 20, 20]], np.float32)


@pytest.mark.parametrize(("how", "expected"), [("max", 0.9), ("mean", 0.5), ("largest", 0.4)])
def test_faces_make_one_number(how, expected):
    assert aggregate_faces(P, BOXES, how) == pytest.approx(expected)


def test_no_face_is_never_a_number():
    assert aggregate_faces(P[:0], BOXES[:0], "max") is None
    assert verdict(None, 0.5) == "no_face"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
@pytest.mark.parametrize("how", ["max", "mean", "largest"])
def test_what_is_no_probability_is_an_error(bad, how):
    with pytest.raises(EngineError):
        aggregate_faces(np.array([0.1, bad, 0.1], np.float32), BOXES, how)


@pytest.mark.parametrize(("p", "word"), [(0.49, "real"), (0.5, "fake"), (1.0, "fake"), (0.0, "real")])
def test_the_threshold_itself_is_fake(p, word):
    assert verdict(p, 0.5) == word


def test_a_threshold_that_is_no_number_is_an_error():
    with pytest.raises(EngineError):
        verdict(0.7, float("nan"))


def test_parameters_have_the_documented_defaults():
    wanted = RequestParameters.parse({})
    assert (wanted.max_faces, wanted.min_face_px, wanted.detector_threshold, wanted.aggregate) == (8, 32, None, "max")
    assert wanted.face_choice(0, cap=64).threshold == 0.9
    assert wanted.face_choice(1, cap=64).threshold == 0.7
    assert wanted.face_choice(0, cap=4).max_faces == 4


def test_parameters_arrive_as_triton_hands_them_on():
    wanted = RequestParameters.parse(
        {"max_faces": 3, "detector_threshold": 0.0, "triton_enable_empty_final_response": True}
    )
    assert wanted.max_faces == 3
    assert wanted.face_choice(0, cap=64).threshold == 0.0


@pytest.mark.parametrize(
    "given", [{"max_faces": 0}, {"aggregate": "median"}, {"min_face_px": float("nan")}, {"detector_threshold": 2}]
)
def test_a_parameter_that_cannot_be_is_named(given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        RequestParameters.parse(given)
