"""What Triton serves is made from the committed models and the artifact's sizes."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from lnclip.architecture import KNOWN
from lnclip.artifact import Artifact, Identity, Provenance
from lnclip.contract import CONTRACT
from lnclip.errors import ArtifactError, ConfigError, SetupError
from lnclip.spec import PreprocessSpec
from server.repository import SOURCE, check_servable, encoder_adapter, init_repository, model_names


def artifact(input_px: int, architecture: str = "demo-4x192-p32") -> Artifact:
    identity = Identity(
        weights_sha256="0" * 64,
        encoder=KNOWN[architecture],
        activation="gelu",
        spec=PreprocessSpec(input_px=input_px),
    )
    return Artifact(identity=identity, provenance=Provenance(name="test"))


def publish(repository, version: int, content: Artifact) -> None:
    folder = repository / "face_encoder" / str(version)
    folder.mkdir(parents=True)
    content.save(folder / "model.json")


def read(path) -> ModelConfig:
    return text_format.Parse(path.read_text(), ModelConfig())


def contents(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dims(config: ModelConfig, name: str) -> list[int]:
    [found] = [tensor for tensor in (*config.input, *config.output) if tensor.name == name]
    return list(found.dims)


def test_every_model_but_the_encoder_comes_with_its_version_folder(tmp_path):
    init_repository(tmp_path)
    assert model_names(tmp_path) == sorted(CONTRACT)
    assert {path.parent.name for path in tmp_path.glob("*/1")} == set(CONTRACT) - {"face_encoder"}
    assert list((tmp_path / "deepfake_detector" / "1").iterdir()) == []
    for name in ("image_decoder", "face_detector", "face_aligner", "face_verdict"):
        adapter = "1/model.py"
        assert (tmp_path / name / adapter).read_bytes() == (SOURCE / name / adapter).read_bytes()


def test_without_an_artifact_the_committed_configs_are_served_as_they_are(tmp_path):
    init_repository(tmp_path)
    for path in SOURCE.glob("*/config.pbtxt"):
        assert (tmp_path / path.relative_to(SOURCE)).read_bytes() == path.read_bytes()
    assert not (tmp_path / "face_aligner" / "1" / "spec.json").exists()


@pytest.mark.parametrize("file", ["config.pbtxt", "configs/cpu.pbtxt"])
def test_the_artifact_decides_sides_and_embedding_in_every_flavour(tmp_path, file):
    init_repository(tmp_path, artifact(336, "ViT-L-14-336"))
    assert dims(read(tmp_path / "face_aligner" / file), "crops") == [-1, 336, 336, 3]
    encoder = read(tmp_path / "face_encoder" / file)
    assert dims(encoder, "crops") == [336, 336, 3]
    assert dims(encoder, "embedding") == [1024]
    init_repository(tmp_path, artifact(224))
    assert dims(read(tmp_path / "face_encoder" / file), "embedding") == [192]


def test_nothing_but_the_sizes_changes(tmp_path):
    init_repository(tmp_path, artifact(160))
    for path in (*SOURCE.glob("*/config.pbtxt"), *SOURCE.glob("*/configs/*.pbtxt")):
        committed, served = read(path), read(tmp_path / path.relative_to(SOURCE))
        for one, other in zip((*committed.input, *committed.output), (*served.input, *served.output), strict=True):
            other.dims[:] = one.dims
        assert committed == served


def test_the_aligner_gets_the_artifact_s_spec(tmp_path):
    init_repository(tmp_path, artifact(160))
    spec = PreprocessSpec.model_validate_json((tmp_path / "face_aligner" / "1" / "spec.json").read_bytes())
    assert spec == PreprocessSpec(input_px=160)


def test_the_newest_published_artifact_decides_by_default(tmp_path):
    publish(tmp_path, 9, artifact(160))
    publish(tmp_path, 10, artifact(192))
    init_repository(tmp_path)
    assert dims(read(tmp_path / "face_encoder" / "config.pbtxt"), "crops") == [192, 192, 3]


def test_a_damaged_published_artifact_is_an_error(tmp_path):
    publish(tmp_path, 1, artifact(160))
    (tmp_path / "face_encoder" / "1" / "model.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"not a model\.json"):
        init_repository(tmp_path)


def test_what_other_commands_put_there_stays_and_a_second_time_changes_nothing(tmp_path):
    publish(tmp_path, 1, artifact(160))
    init_repository(tmp_path)
    (tmp_path / "face_detector" / "1" / "detector.json").write_text("{}")
    (tmp_path / "face_encoder" / "1" / "model.onnx").write_bytes(b"weights")
    before = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    init_repository(tmp_path)
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def write_pair(source, *, cap: str, max_batch_size: int, cpu_batch_size: int) -> None:
    for name, body in (
        ("face_aligner", f'parameters {{ key: "max_faces_cap" value {{ string_value: "{cap}" }} }}'),
        ("face_encoder", f"max_batch_size: {max_batch_size}"),
    ):
        (source / name / "configs").mkdir(parents=True)
        (source / name / "config.pbtxt").write_text(f'name: "{name}"\n{body}\n')
    (source / "face_aligner" / "configs" / "cpu.pbtxt").write_text(
        (source / "face_aligner" / "config.pbtxt").read_text()
    )
    (source / "face_encoder" / "configs" / "cpu.pbtxt").write_text(
        f'name: "face_encoder"\nmax_batch_size: {cpu_batch_size}'
    )


def test_an_image_never_has_more_faces_than_the_encoder_takes_at_once(tmp_path):
    write_pair(tmp_path / "source", cap="64", max_batch_size=32, cpu_batch_size=16)
    init_repository(tmp_path / "out", source=tmp_path / "source")
    aligner = tmp_path / "out" / "face_aligner"
    assert read(aligner / "config.pbtxt").parameters["max_faces_cap"].string_value == "32"
    assert read(aligner / "configs" / "cpu.pbtxt").parameters["max_faces_cap"].string_value == "16"


def test_a_config_of_a_flavour_that_is_gone_is_removed(tmp_path):
    write_pair(tmp_path / "source", cap="64", max_batch_size=64, cpu_batch_size=64)
    init_repository(tmp_path / "out", source=tmp_path / "source")
    (tmp_path / "source" / "face_encoder" / "configs" / "cpu.pbtxt").unlink()
    init_repository(tmp_path / "out", source=tmp_path / "source")
    assert list((tmp_path / "out" / "face_encoder" / "configs").iterdir()) == []


def test_a_broken_config_is_named(tmp_path):
    (tmp_path / "source" / "face_encoder").mkdir(parents=True)
    (tmp_path / "source" / "face_encoder" / "config.pbtxt").write_text("max_batch_size: many")
    with pytest.raises(ConfigError, match=r"face_encoder/config.pbtxt is no model configuration"):
        init_repository(tmp_path / "out", source=tmp_path / "source")


def test_the_committed_source_is_never_written(tmp_path):
    with pytest.raises(ConfigError, match="committed source"):
        init_repository(SOURCE)


def test_the_encoder_s_adapter_is_there_for_publish():
    assert "TritonPythonModel" in encoder_adapter().read_text()


def test_an_empty_repository_names_publish(tmp_path):
    with pytest.raises(SetupError, match="holds no published encoder: python -m export publish"):
        check_servable(tmp_path, "cpu")


def test_what_is_missing_is_named_with_its_command(tmp_path):
    init_repository(tmp_path)
    with pytest.raises(SetupError) as caught:
        check_servable(tmp_path, "cpu")
    assert f"python -m export face-detector mtcnn --repository {tmp_path}" in str(caught.value)
    assert f"python -m export publish exports/NAME --repository {tmp_path}" in str(caught.value)
    (tmp_path / "face_detector" / "1" / "detector.json").write_text("{}")
    publish(tmp_path, 1, artifact(224))
    assert check_servable(tmp_path, "cpu") == sorted(CONTRACT)
