"""tuned.json: values go into the configs' text, and server init keeps them."""

import logging
import os

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Identity, Provenance
from lnclip.errors import ConfigError
from lnclip.spec import PreprocessSpec
from server.repository import SOURCE, init_repository
from server.tuned import CONFIG, FILE, ModelTuning, Tuned, set_values

ENCODER = ModelTuning(preferred_batch=16, queue_delay_us=500, threads=3, streams=2)


def tuned(**models: ModelTuning) -> Tuned:
    cores = len(os.sched_getaffinity(0))
    return Tuned(record="2026-01-02_tune.json", processor="A processor", cores=cores, models=models)


def parse(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def committed(model: str) -> str:
    return (SOURCE / model / CONFIG).read_text()


def artifact() -> Artifact:
    identity = Identity(
        weights_sha256="0" * 64,
        encoder=KNOWN["demo-4x192-p32"],
        activation="gelu",
        spec=PreprocessSpec(input_px=160),
    )
    return Artifact(identity=identity, provenance=Provenance(name="test"))


def test_the_encoder_gets_its_values_and_nothing_else_changes():
    text = set_values(committed("face_encoder"), ENCODER)
    config = parse(text)
    assert list(config.dynamic_batching.preferred_batch_size) == [16]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert {name: each.string_value for name, each in config.parameters.items()} == {"threads": "3", "streams": "2"}
    assert config.max_batch_size == 64, "an image may have as many faces as before"
    before = parse(committed("face_encoder"))
    config.ClearField("parameters")
    config.dynamic_batching.CopyFrom(before.dynamic_batching)
    assert config == before


@pytest.mark.parametrize("model", ["image_decoder", "face_detector", "face_aligner", "face_encoder"])
def test_comments_and_layout_stay(model):
    text = set_values(committed(model), ModelTuning(instances=7))
    assert parse(text).instance_group[0].count == 7
    changed = [
        (old, new) for old, new in zip(committed(model).splitlines(), text.splitlines(), strict=True) if old != new
    ]
    [(old, new)] = changed
    assert old.startswith("instance_group")
    assert new == old.replace(f"count: {parse(committed(model)).instance_group[0].count}", "count: 7")


def test_values_are_set_again_and_again():
    once = set_values(committed("face_encoder"), ENCODER)
    other = ModelTuning(preferred_batch=8, queue_delay_us=0, threads=1, streams=1)
    assert ModelTuning.of(parse(set_values(once, other))) == other.model_copy(update={"instances": 1})
    assert set_values(once, ENCODER) == once
    assert parse(set_values(once, ENCODER)) == parse(once)


def test_a_config_made_for_an_artifact_s_sizes_takes_them_too(tmp_path):
    (tmp_path / FILE).write_text(tuned(face_encoder=ENCODER, face_aligner=ModelTuning(instances=5)).text())
    init_repository(tmp_path, artifact())
    encoder = parse((tmp_path / "face_encoder" / CONFIG).read_text())
    assert ModelTuning.of(encoder) == ENCODER.model_copy(update={"instances": 1})
    assert list(encoder.input[0].dims) == [160, 160, 3]
    aligner = parse((tmp_path / "face_aligner" / CONFIG).read_text())
    assert (aligner.instance_group[0].count, aligner.parameters["max_faces_cap"].string_value) == (5, "64")


def test_init_keeps_the_values_names_the_evidence_and_forgets_them_with_the_file(tmp_path):
    (tmp_path / FILE).write_text(tuned(face_detector=ModelTuning(instances=3)).text())
    for _ in range(2):
        init_repository(tmp_path)
        text = (tmp_path / "face_detector" / CONFIG).read_text()
        assert parse(text).instance_group[0].count == 3
        assert text.startswith("# Tuned for A processor, ")
        assert "instances 3. Evidence: 2026-01-02_tune.json; kept in tuned.json.\n" in text.splitlines(keepends=True)[0]
        assert (tmp_path / "face_aligner" / CONFIG).read_text() == committed("face_aligner")
        assert (tmp_path / "face_detector" / "config.pbtxt").read_bytes() == (
            SOURCE / "face_detector" / "config.pbtxt"
        ).read_bytes()
    (tmp_path / FILE).unlink()
    init_repository(tmp_path)
    assert (tmp_path / "face_detector" / CONFIG).read_text() == committed("face_detector")


def test_another_machine_is_told_of(tmp_path, caplog):
    other = tuned(face_detector=ModelTuning(instances=3)).model_copy(update={"cores": 999})
    (tmp_path / FILE).write_text(other.text())
    with caplog.at_level(logging.WARNING):
        init_repository(tmp_path)
    assert "is for 999 cores" in caplog.text


def test_a_config_without_a_place_for_a_value_is_an_error():
    with pytest.raises(ConfigError, match="no place for"):
        set_values(committed("face_detector"), ModelTuning(queue_delay_us=5))
    with pytest.raises(ConfigError, match="no place for"):
        set_values('name: "m"\n# instance_group [ { count: 2 } ]\n', ModelTuning(instances=3))
    with pytest.raises(ConfigError, match="no place for"):
        set_values("instance_group [ { count: 2 }, { count: 2 } ]", ModelTuning(instances=3))


@pytest.mark.parametrize("content", ["{", '{"format": 2}', '{"models": {"face_encoder": {"threads": 0}}}'])
def test_a_damaged_file_is_named_and_nothing_is_made(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"tuned\.json cannot be read"):
        init_repository(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_record_s_name_cannot_end_the_comment():
    with pytest.raises(ValueError, match="record"):
        Tuned(record="a\nmax_batch_size: 1", processor="p", cores=1, models={})
