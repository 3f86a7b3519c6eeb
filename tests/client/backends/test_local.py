"""Without a server: what is missing is said with the command that makes it; agreement is test_agreement's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from client import Row, ScoreOptions, Scorer
from lnclip.errors import ArtifactError, LnclipError, SpecError
from lnclip.spec import PreprocessSpec
from tests.client.backends.test_agreement import crowd
from tests.conftest import encoded, jpeg

pytestmark = pytest.mark.slow

TWO_LETTERBOX_PX = 2 * 1400 / 640
"""In pixels of the 1400 px picture: the detector sees no finer."""


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    """A repository that a test may damage."""
    return Path(shutil.copytree(repository, tmp_path / "repository"))


def local(repository: Path, **options: object) -> Scorer:
    return Scorer(options=ScoreOptions(way="local", repository=repository, **options))


def without_detector(copy: Path) -> None:
    shutil.rmtree(copy / "face_detector" / "1")


def with_a_damaged_detector(copy: Path) -> None:
    (copy / "face_detector" / "1" / "onet.onnx").write_bytes(b"no graph")


def without_encoder(copy: Path) -> None:
    shutil.rmtree(copy / "face_encoder" / "1")


def published_for_gpus(copy: Path) -> None:
    """An older version would do, and would be another model than the one that was published last."""
    newest = Path(shutil.copytree(copy / "face_encoder" / "1", copy / "face_encoder" / "2"))
    (newest / "model.onnx").rename(newest / "model.plan")


def without_aligner(copy: Path) -> None:
    (copy / "face_aligner" / "1" / "spec.json").unlink()


def without_configs(copy: Path) -> None:
    shutil.rmtree(copy / "image_decoder")


def of_another_model(copy: Path) -> None:
    path = copy / "face_encoder" / "1" / "model.json"
    described = json.loads(path.read_text())
    described["identity"]["weights_sha256"] = "0" * 64
    path.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [
        (without_detector, "python -m export face-detector"),
        (with_a_damaged_detector, "python -m export face-detector"),
        (without_encoder, "no published encoder: python -m export publish"),
        (published_for_gpus, "face_encoder/2 .*--flavour cpu"),
        (without_aligner, "python -m server init"),
        (without_configs, "max_megapixels: python -m server init"),
        (of_another_model, "publish it again"),
    ],
)
def test_what_is_missing_is_said_at_the_beginning(copy: Path, damage, remedy: str) -> None:
    damage(copy)
    with pytest.raises(ArtifactError, match=remedy):
        local(copy)


def test_an_aligner_of_another_spec_is_refused(copy: Path, spec: PreprocessSpec) -> None:
    other = PreprocessSpec(crop_scale=1.5)
    (copy / "face_aligner" / "1" / "spec.json").write_text(other.model_dump_json())
    with pytest.raises(SpecError, match=f"{other.spec_id.hex}.*{spec.spec_id.hex}"):
        local(copy)


def test_the_limits_are_those_of_the_repository(copy: Path, astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
    """As ``server init`` writes them: in one line by hand, in several when it adapts sizes."""
    aligner = copy / "face_aligner" / "configs" / "cpu.pbtxt"
    several = 'parameters {\n  key: "max_faces_cap"\n  value {\n    string_value: "2"\n  }\n}\n'
    one = 'parameters { key: "max_faces_cap" value { string_value: "64" } }'
    aligner.write_text(aligner.read_text().replace(one, several))
    decoder = copy / "image_decoder" / "configs" / "cpu.pbtxt"
    decoder.write_text(decoder.read_text().replace('string_value: "50"', 'string_value: "1.3"'))
    group = np.asarray(crowd(astronaut, grace_hopper))
    assert group.shape == (900, 1400, 3)
    with local(copy, parameters={"max_faces": 9}) as scorer:
        assert scorer.score(jpeg(group[:, :1399])).num_faces == 2
        refused = scorer.score(jpeg(np.pad(group, ((0, 100), (0, 0), (0, 0)))))
    assert refused.error is not None
    assert (refused.error.code, refused.error.message) == (
        "too_many_pixels",
        "1400 x 1000; at most 1,300,000 pixels are read",
    )


def damaged_weights(copy: Path) -> None:
    path = copy / "face_encoder" / "1" / "model.onnx"
    graph = onnx.load(path)
    [bias] = [tensor for tensor in graph.graph.initializer if tensor.dims == [2] and tensor.data_type == 1]
    bias.CopyFrom(numpy_helper.from_array(np.full(2, np.nan, np.float32), bias.name))
    onnx.save(graph, path)


def test_what_is_no_number_is_an_error_with_and_without_a_face(copy: Path, astronaut: np.ndarray) -> None:
    damaged_weights(copy)
    with local(copy) as scorer:
        found = [scorer.score(image) for image in (jpeg(astronaut), encoded(np.full((90, 90, 3), 9, np.uint8), "PNG"))]
    assert [(row.status, row.p_fake, row.verdict) for row in found] == [("error", None, None)] * 2
    message = "the encoder answered what is no number: its weights are damaged, publish another version"
    assert [(row.error.code, row.error.message) for row in found if row.error] == [("internal", message)] * 2


def test_ready_crops_need_nothing_but_the_encoder(copy: Path, face_crops: np.ndarray) -> None:
    for model in ("face_detector", "face_aligner", "image_decoder"):
        shutil.rmtree(copy / model)
    with local(copy, crops=True) as scorer:
        assert scorer.score(encoded(face_crops[0], "PNG")).status == "ok"
    with pytest.raises(LnclipError):
        local(copy)


def test_a_shrunk_image_has_its_faces_where_the_whole_one_has_them(
    repository: Path, astronaut: np.ndarray, grace_hopper: np.ndarray
) -> None:
    group = jpeg(np.asarray(crowd(astronaut, grace_hopper)))
    with local(repository) as scorer:
        whole = scorer.score(group)
    with local(repository, max_side=640) as scorer:
        shrunk = scorer.score(group)
    assert (shrunk.width, shrunk.height, shrunk.num_faces) == (1400, 900, whole.num_faces)
    for face, expected in zip(by_place(shrunk), by_place(whole), strict=True):
        np.testing.assert_allclose(face.box, expected.box, atol=TWO_LETTERBOX_PX)
        np.testing.assert_allclose(face.landmarks, expected.landmarks, atol=TWO_LETTERBOX_PX)


def test_the_smallest_face_shrinks_with_the_image(repository: Path, astronaut: np.ndarray) -> None:
    """The astronaut's face is 87 px wide; at half the size 43, which is no reason to leave it out."""
    for smallest, status in ((80.0, "ok"), (100.0, "no_face")):
        with local(repository, max_side=256, parameters={"min_face_px": smallest}) as scorer:
            assert scorer.score(jpeg(astronaut)).status == status


def by_place(row: Row) -> list:
    return sorted(row.faces, key=lambda face: face.box)
