import pytest
import torch

from lnclip.architecture import KNOWN
from lnclip.encoder import FaceEncoder, count_parameters
from training.tuning import parameter_groups, select_trainable


@pytest.mark.parametrize(
    ("name", "trainable", "encoder"),
    # Source: reference implementation's published counts; encoder without projection and head.
    [("ViT-L-14", 104_450, 303_179_776), ("ViT-B-32", 41_474, 87_456_000), ("ViT-B-16", 41_474, 85_799_424)],
)
def test_layernorm_tuning_trains_the_published_number_of_parameters(name: str, trainable: int, encoder: int) -> None:
    with torch.device("meta"):
        network = FaceEncoder(KNOWN[name], "quick_gelu", 224)
    select_trainable(network, "layernorm")
    learning, total = count_parameters(network)
    assert learning == trainable
    assert total - count_parameters(network.head)[1] == encoder


def test_full_tuning_trains_everything_even_after_layernorm_tuning() -> None:
    network = FaceEncoder(KNOWN["demo-4x192-p32"], "quick_gelu", 64)
    select_trainable(network, "layernorm")
    select_trainable(network, "full")
    assert len(set(count_parameters(network))) == 1


def test_norms_and_biases_never_decay() -> None:
    network = FaceEncoder(KNOWN["demo-4x192-p32"], "quick_gelu", 64)
    select_trainable(network, "layernorm")
    decayed, spared = parameter_groups(network, 0.1)
    assert [id(parameter) for parameter in decayed["params"]] == [id(network.head.weight)]
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0
    assert len(spared["params"]) == 2 * (2 + 2 * 4) + 1
