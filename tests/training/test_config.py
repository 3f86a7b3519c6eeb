from pathlib import Path

import pytest

from lnclip.errors import ConfigError
from training.config_file import read_config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text('train_index = "crops.csv"\nepochs = 2\n[augmentation]\nflip = 0.0\n')
    return tmp_path / "run.toml"


def test_overrides_win_and_may_be_bare_words_or_dotted(path: Path) -> None:
    config = read_config(path, ["epochs=3", "tune=full", "spec.input_px=64", "augmentation.zoom=0.2", "init=runs/a=b"])
    assert (config.epochs, config.tune, config.spec.input_px, config.init) == (3, "full", 64, "runs/a=b")
    assert (config.augmentation.flip, config.augmentation.zoom) == (0.0, 0.2)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("learning_rat=1", "learning_rat is not a known key; did you mean learning_rate?"),
        ("xyzzy=1", "xyzzy is not a known key; known: train_index,"),
        ("augmentation.flp=1", "augmentation.flp is not a known key; did you mean flip?"),
        ("spec.input=1", "spec.input is not a known key; did you mean input_px?"),
        ("tune=adapter", "tune: Input should be 'head', 'layernorm', 'lora', 'bitfit' or 'full'"),
        ("slerp.mod=off", "slerp.mod is not a known key; did you mean mode?"),
        ("lora.ranks=2", "lora.ranks is not a known key; did you mean rank?"),
        ("devices=3", "batch_size 128 is no multiple of the 3 devices"),
        ("nodes=3", "batch_size 128 is no multiple of the 3 devices"),
        ("encoder=ViT-L-15", "'ViT-L-15' is not known; there are ViT-B-32"),
        ("epochs=0", "epochs: Input should be greater than or equal to 1"),
        ("learning_rate=nan", "learning_rate: Input should be greater than 0"),
        ("epochs", "--set epochs: must be key=value"),
        ("epochs.x=1", "epochs is not a table"),
    ],
)
def test_a_setting_that_cannot_be_is_named(path: Path, override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(path, [override])
    assert complaint in str(caught.value)


def test_a_typo_in_the_file_is_an_error(path: Path) -> None:
    path.write_text('train_index = "crops.csv"\nepoch = 2\n')
    with pytest.raises(ConfigError, match=r"run\.toml: epoch is not a known key; did you mean epochs\?"):
        read_config(path)


def test_what_is_no_toml_is_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        read_config(tmp_path / "none.toml")
    path.write_text("epochs: 2")
    with pytest.raises(ConfigError, match="is not a TOML file"):
        read_config(path)
