"""Ready crops against a real gRPC peer: straight to the encoder, in batches, under the right spec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lnclip.errors import SpecError
from tests.client.peer import Peer, encoder_answer, sent_crops
from tests.client.test_scorer import SPEC_32, score
from tests.conftest import encoded


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for index in range(10):
        grey = np.full((48, 48, 3), 25 * index, np.uint8)
        (tmp_path / f"{index}.png").write_bytes(encoded(grey, "PNG"))
    return tmp_path


def test_go_to_the_encoder_in_batches_that_it_takes(crops: Path) -> None:
    peer = Peer(lambda request: encoder_answer(sent_crops(request), SPEC_32))
    rows = score(peer, crops, crops=True, crop_batch=32)
    for index in range(10):
        row = rows[f"{index}.png"]
        assert row.p_fake == pytest.approx(25 * index / 255, abs=1e-6)
        assert row.verdict == ("fake" if 25 * index / 255 >= 0.5 else "real")
        assert (row.num_faces, row.faces[0].box, row.width) == (1, None, 48)
    assert row.model is not None
    assert row.model["spec_id"] == SPEC_32.spec_id.hex
    assert {request.model_name for request in peer.requests} == {"face_encoder"}
    sizes = [len(sent_crops(request)) for request in peer.requests]
    assert sizes == [1, 10, 4, 4, 2]  # the first asks for the spec; the peer's largest batch is 4


def test_one_bad_crop_does_not_fail_its_batch(crops: Path) -> None:
    (crops / "text.png").write_text("no picture")
    peer = Peer(lambda request: encoder_answer(sent_crops(request), SPEC_32))
    rows = score(peer, crops, crops=True)
    assert rows["text.png"].error is not None
    assert rows["text.png"].error.code == "not_an_image"
    assert [row.status for row in rows.values()].count("ok") == 10


def test_an_answer_that_is_no_number_fails_its_crop_alone(crops: Path) -> None:
    def behave(request):
        answer = encoder_answer(sent_crops(request), SPEC_32)
        answer["p_fake"][answer["p_fake"] == 0] = np.nan  # the black crop's
        return answer

    rows = score(Peer(behave), crops, crops=True)
    assert rows["0.png"].error is not None
    assert rows["0.png"].error.code == "bad_answer"
    assert [row.status for row in rows.values()].count("ok") == 9


def test_an_encoder_of_another_spec_is_refused(crops: Path) -> None:
    other = SPEC_32.model_copy(update={"crop_scale": 2.0})
    peer = Peer(lambda request: encoder_answer(sent_crops(request), other))
    with pytest.raises(SpecError, match=f"{other.spec_id.hex}.*{SPEC_32.spec_id.hex}.*--spec"):
        score(peer, crops, crops=True)
    assert len(score(peer, crops, crops=True, spec=other)) == 10
