"""Files that are not what they should be: refused by name, and none of their code runs."""

import enum
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from lnclip.errors import ArtifactError, ConfigError
from tests.training.published import checkpoints
from training.published.files import read


@pytest.fixture
def tensors():
    return checkpoints.gend_tensors(checkpoints.clip()[1].tensors, checkpoints.face_head())


class Touch:
    """Unpickled, it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return subprocess.run, (["touch", str(self.path)],)


def test_a_checkpoint_with_code_in_it_is_refused_and_does_not_run(tensors, tmp_path):
    settings = checkpoints.hyper_parameters(callback=Touch(tmp_path / "touched"))
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, settings)
    with pytest.raises(ArtifactError, match=r"holds objects of \w+.run, .* clean.ckpt"):
        read(str(source))
    assert not (tmp_path / "touched").exists()
    torch.load(source, weights_only=False)
    assert (tmp_path / "touched").exists(), "the checkpoint was armed"


def test_the_way_out_of_a_checkpoint_with_objects_works(tensors, tmp_path):
    checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, checkpoints.hyper_parameters(path=tmp_path))
    with pytest.raises(ArtifactError, match="pathlib"):
        read(str(tmp_path / "model.ckpt"))
    torch.save(
        {"state_dict": torch.load(tmp_path / "model.ckpt", weights_only=False)["state_dict"]}, tmp_path / "clean.ckpt"
    )
    (tmp_path / "config.json").write_text(json.dumps(checkpoints.hyper_parameters()))
    published = read(str(tmp_path / "clean.ckpt"))
    assert published.settings.head == "normalised"
    assert published.tensors.keys() == tensors.keys()


def test_gends_own_enumerations_are_strings(tensors, tmp_path, monkeypatch):
    """Its configuration's defaults are members of enumerations of strings; reading needs no such module."""

    class Head(enum.StrEnum):
        NLinear = "LinearNorm"

    module = types.ModuleType("src.config")
    module.Head = Head
    Head.__module__, Head.__qualname__ = "src.config", "Head"
    monkeypatch.setitem(sys.modules, "src", types.ModuleType("src"))
    monkeypatch.setitem(sys.modules, "src.config", module)
    settings = checkpoints.hyper_parameters(head=Head.NLinear)
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, settings)
    assert b"src.config" in source.read_bytes()
    monkeypatch.undo()
    assert read(str(source)).settings.head == "normalised"


def test_a_checkpoints_own_settings_count_before_the_configuration_beside_it(tensors, tmp_path):
    source = checkpoints.write_checkpoint(tmp_path / "model.ckpt", tensors, checkpoints.hyper_parameters())
    (tmp_path / "config.json").write_text(json.dumps({"head": "linear", "hidden_act": "gelu"}))
    settings = read(str(source)).settings
    assert (settings.head, settings.activation) == ("normalised", "gelu")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("model.safetensors", b"not tensors at all", "is damaged"),
        ("model.ckpt", b"not tensors at all", "is damaged"),
        ("model.ckpt", b"", "is damaged"),
    ],
)
def test_damaged_files_are_named(name, content, complaint, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name} {complaint}"):
        read(str(tmp_path / name))


def test_a_truncated_file_is_damaged(tensors, tmp_path):
    source = checkpoints.write_folder(tmp_path, tensors, None) / "model.safetensors"
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="is damaged"):
        read(str(source))


def test_a_configuration_that_is_not_json_is_named(tensors, tmp_path):
    checkpoints.write_folder(tmp_path, tensors, None)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config.json is not JSON"):
        read(str(tmp_path))


def test_a_pickle_of_something_else_is_no_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "model.ckpt")
    with pytest.raises(ArtifactError, match="no Lightning checkpoint"):
        read(str(tmp_path / "model.ckpt"))


@pytest.mark.parametrize("name", ["missing", "missing.safetensors", "notes.txt", "empty"])
def test_what_is_no_source_is_refused(name, tmp_path):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=name):
        read(str(tmp_path / name))


def test_a_folder_of_several_files_asks_which(tensors, tmp_path):
    for name in ("a.safetensors", "b.ckpt"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"holds a.safetensors, b.ckpt: name the file"):
        read(str(tmp_path))
