"""A random model that an earlier call left: its weights stay, what serves them is today's."""

from pathlib import Path

import pytest

from benchmarks.random_service import random_model, served_precision
from lnclip.publication import versions
from server.repository import encoder_adapter, has_encoder_adapter

ENCODER = "demo-4x192-p32"


@pytest.mark.slow
def test_an_old_adapter_is_published_anew_and_old_configs_are_made_again(work: Path) -> None:
    model = random_model(work, ENCODER)
    weights = (model.run / "weights.safetensors").stat().st_mtime_ns
    adapter = model.repository / "face_encoder" / "1" / "model.py"
    config = model.repository / "image_decoder" / "configs" / "cpu.pbtxt"
    today = config.read_text()
    assert versions(model.repository / "face_encoder") == [1], "nothing was old"

    adapter.write_text("# of an earlier revision\n")
    config.write_text("# of an earlier revision\n")
    assert not has_encoder_adapter(model.repository)
    random_model(work, ENCODER)
    assert versions(model.repository / "face_encoder") == [1, 2]
    newest = model.repository / "face_encoder" / "2" / "model.py"
    assert newest.read_bytes() == encoder_adapter().read_bytes()
    assert config.read_text() == today
    assert (model.run / "weights.safetensors").stat().st_mtime_ns == weights


@pytest.mark.slow
def test_another_precision_joins_those_that_are_there(work: Path) -> None:
    model = random_model(work, ENCODER, ("fp32", "fp16"))
    assert {path.name for path in model.export.glob("*.onnx")} == {"face_encoder.fp32.onnx", "face_encoder.fp16.onnx"}


def test_an_empty_repository_serves_nothing(tmp_path: Path) -> None:
    assert served_precision(tmp_path) is None
    assert not has_encoder_adapter(tmp_path)
