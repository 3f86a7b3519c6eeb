"""The check before the timing: it passes small differences, and refuses other networks."""

import numpy as np
import pytest

from benchmarks.encoder_speed.checking import NUM_CROPS, Answered, check, check_crops, rows_to_ask
from benchmarks.encoder_speed.ways import Way
from lnclip.architecture import KNOWN
from lnclip.artifact import Identity
from lnclip.engines import EncoderAnswer
from lnclip.errors import ParityError

ARCHITECTURE = KNOWN["demo-4x192-p32"]
IDENTITY = Identity(weights_sha256="0" * 64, encoder=ARCHITECTURE, activation="quick_gelu", spec=ARCHITECTURE.spec)
NUM = 4
FP32, INT8 = Way("openvino", "fp32"), Way("openvino", "int8")


def _answer(p_fake: np.ndarray) -> EncoderAnswer:
    angles = np.arange(len(p_fake)) % NUM
    embedding = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ids = np.zeros((len(p_fake), 2), np.int32)
    return EncoderAnswer(
        p_fake[:, None].astype(np.float32), np.full((len(p_fake), 1), 0.5, np.float32), ids, ids, embedding
    )


P = np.array([0.2, 0.4, 0.6, 0.8])
REFERENCE = _answer(P)


def _answers(*shifts: float) -> list[Answered]:
    """Batch sizes 1 and 8: the first crop; all of them twice."""
    return [Answered(1, _answer(P[:1] + shifts[0])), Answered(8, _answer(np.tile(P, 2) + shifts[1]))]


def test_answers_within_the_limits_pass_with_their_figures():
    found = check(FP32, REFERENCE, _answers(0.0, 5e-6), IDENTITY)
    assert found.max_dp == pytest.approx(5e-6, rel=0.05)
    assert found.batch_dp == pytest.approx(5e-6, rel=0.05)


def test_ranks_do_not_suffer_from_rounding_between_batch_sizes():
    assert check(FP32, REFERENCE, _answers(-4e-6, 4e-6), IDENTITY).ranking.spearman == 1


def test_a_way_that_disagrees_is_an_error_with_its_figures():
    with pytest.raises(ParityError, match=r"^answers otherwise: max \|dp\| is 2e-05"):
        check(FP32, REFERENCE, _answers(0.0, 2e-5), IDENTITY)


def test_a_way_that_disagrees_at_one_batch_size_alone_is_an_error():
    with pytest.raises(ParityError, match="crop 0, batch 1"):
        check(FP32, REFERENCE, _answers(1e-3, 0.0), IDENTITY)


def test_int8_is_held_to_its_ranks():
    coarse = [Answered(4, _answer(P + np.array([0.02, -0.02, 0.02, -0.02])))]
    assert check(INT8, REFERENCE, coarse, IDENTITY).max_dp == pytest.approx(0.02, rel=0.01)
    swapped = [Answered(4, _answer(P[[1, 0, 2, 3]]))]
    with pytest.raises(ParityError, match="rank correlation"):
        check(INT8, REFERENCE, swapped, IDENTITY)


@pytest.mark.parametrize(
    "way", [Way("torch", "fp16", "cuda"), Way("torch", "bf16"), Way("openvino", "int8")], ids=lambda way: way.name
)
def test_two_neighbours_that_change_places_are_no_failure(way):
    number = NUM_CROPS[way.device]
    p_fake = np.linspace(0.2, 0.8, number)
    p_fake[1] = p_fake[0] + 1e-4
    swapped = p_fake.copy()
    swapped[[0, 1]] = p_fake[[1, 0]]
    found = check(way, _answer(p_fake), [Answered(number, _answer(swapped))], IDENTITY)
    assert found.ranking.spearman == pytest.approx(1 - 12 / (number * (number**2 - 1)))  # 6 sum d^2 / n (n^2 - 1)


def test_nan_is_refused():
    with pytest.raises(ParityError, match="NaN"):
        check(FP32, REFERENCE, _answers(0.0, np.nan), IDENTITY)


def test_crops_of_one_answer_prove_nothing():
    same = EncoderAnswer(*(np.repeat(part[:1], NUM, axis=0) for part in REFERENCE))
    with pytest.raises(ParityError, match="cannot tell answers apart"):
        check(FP32, same, [Answered(4, same)], IDENTITY)


def test_every_batch_is_full_and_the_largest_size_sees_all_crops():
    assert rows_to_ask(4, 1, 3).tolist() == [0]
    assert rows_to_ask(4, 3, 3).tolist() == [0, 1, 2, 3, 0, 1]
    assert rows_to_ask(4, 6, 6).tolist() == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize(("device", "number"), [("cpu", 16), ("cuda", 64)])
def test_the_crops_differ_from_each_other(device, number):
    crops = check_crops(ARCHITECTURE.spec, device)
    assert crops.shape == (number, 224, 224, 3)
    assert len({crop.tobytes() for crop in crops}) == number
