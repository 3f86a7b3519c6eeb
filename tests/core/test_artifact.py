import hashlib

import numpy as np
import pytest
from pydantic import ValidationError

from lnclip.architecture import KNOWN, EncoderArchitecture
from lnclip.artifact import Artifact, Identity, Provenance
from lnclip.errors import ArtifactError
from lnclip.identity import ContentId, content_id
from lnclip.publication import find_artifact, versions
from lnclip.spec import PreprocessSpec

IDENTITY = Identity(weights_sha256="0" * 64, encoder=KNOWN["ViT-L-14"], activation="quick_gelu", spec=PreprocessSpec())
ARTIFACT = Artifact(identity=IDENTITY, provenance=Provenance(name="test"))


def test_an_id_is_the_sha256_of_the_canonical_json():
    architecture = EncoderArchitecture(name="a", width=8, layers=1, heads=2, patch_px=4)
    text = (
        b'{"family":"clip","heads":2,"layers":1,"mlp_ratio":4.0,"name":"a","patch_px":4,"position_px":null,"width":8}'
    )
    assert content_id(architecture).hex == hashlib.sha256(text).hexdigest()[:16]


def test_ids_survive_the_wire():
    given = ContentId(-2147483648, 2147483647)
    words = given.words()
    assert words.dtype == np.int32
    assert ContentId.from_words(words) == given
    assert given.hex == "800000007fffffff"


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0.6},
        {"temperature": 2.0},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"precision": "int8"},
        {"activation": "gelu"},
        {"weights_sha256": "1" * 64},
        {"class_order": ("fake", "real")},
        {"spec": PreprocessSpec(crop_px=256)},
        {"head": "linear"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_that_decides_a_score_changes_the_id(change):
    assert IDENTITY.model_copy(update=change).artifact_id != IDENTITY.artifact_id


def test_what_decides_no_score_leaves_the_id():
    other = Artifact(identity=IDENTITY, provenance=Provenance(name="other", git_revision="abc"))
    assert other.identity.artifact_id == ARTIFACT.identity.artifact_id


def test_a_model_json_comes_back_as_it_was(tmp_path):
    ARTIFACT.save(tmp_path / "model.json")
    assert Artifact.load(tmp_path / "model.json") == ARTIFACT


@pytest.mark.parametrize("text", ["", "{}", '{"identity": 1}', "not json"])
def test_a_damaged_model_json_is_named(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=str(path)):
        Artifact.load(path)


def test_an_unknown_key_is_an_error(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(ARTIFACT.model_dump_json().replace('"threshold"', '"thresholds"'))
    with pytest.raises(ArtifactError, match="thresholds"):
        Artifact.load(path)


@pytest.mark.parametrize("change", [{"threshold": float("nan")}, {"temperature": 0}, {"class_order": ("real", "real")}])
def test_an_identity_that_cannot_be_is_refused(change):
    with pytest.raises(ValidationError):
        Identity(**{**IDENTITY.model_dump(), **change})


def test_the_published_artifact_is_found_by_its_id(tmp_path):
    other = Artifact(identity=IDENTITY.model_copy(update={"threshold": 0.7}), provenance=Provenance(name="other"))
    for version, artifact in ((2, ARTIFACT), (10, other)):
        (tmp_path / str(version)).mkdir()
        artifact.save(tmp_path / str(version) / "model.json")
    (tmp_path / ".publishing-11").mkdir()
    assert versions(tmp_path) == [2, 10]
    assert find_artifact(tmp_path, IDENTITY.artifact_id) == ARTIFACT
    with pytest.raises(ArtifactError, match="0000000000000000"):
        find_artifact(tmp_path, ContentId(0, 0))
