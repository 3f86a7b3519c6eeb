"""Which tensors learn, per encoder and mode: by count, and by what an optimiser step really moves.

Steps are of every encoder's full width, two of its layers and four by four patches.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lnclip.architecture import KNOWN, EncoderArchitecture
from lnclip.encoder import FaceEncoder, count_parameters, load_strictly
from training.config import Lora
from training.tuning import merge, parameter_groups, select_trainable

# Encoder without projection and head; LayerNorms and head. Source: reference implementation's published
# counts (DINOv3's less the mask token of 1,024 that only pre-training reads).
PUBLISHED = {
    "ViT-B-32": (87_456_000, 41_474),
    "ViT-B-16": (85_799_424, 41_474),
    "ViT-L-14": (303_179_776, 104_450),
    "ViT-L-14-336": (303_507_456, 104_450),
    "PE-Core-B-16": (92_886_528, 43_010),
    "PE-Core-L-14": (316_102_656, 106_498),
    "DINOv3-L-16": (303_128_576, 102_402),
}
MODES = ["head", "layernorm", "lora", "bitfit", "full"]
LORA = Lora()


def network_of(architecture: EncoderArchitecture, input_px: int) -> FaceEncoder:
    torch.manual_seed(0)
    return FaceEncoder(architecture, architecture.activation, input_px)


def shallow(name: str) -> FaceEncoder:
    return network_of(KNOWN[name].model_copy(update={"layers": 2}), side_of(name))


def side_of(name: str) -> int:
    return 4 * KNOWN[name].patch_px


def on_meta(name: str) -> FaceEncoder:
    with torch.device("meta"):
        return network_of(KNOWN[name], KNOWN[name].spec.input_px)


def small() -> FaceEncoder:
    return network_of(KNOWN["demo-4x192-p32"], 64)


def trained(network: FaceEncoder, steps: int, side: int) -> None:
    """Some steps of AdamW on two faces of noise, one of each class. The gradients of the last stay."""
    optimiser = torch.optim.AdamW(parameter_groups(network, 0.0), lr=1e-3)
    pixels, columns = torch.randn(2, 3, side, side), torch.tensor([0, 1])
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network.train()(pixels).logits, columns).backward()
        optimiser.step()


def complaints(network: FaceEncoder, before: dict[str, torch.Tensor]) -> list[str]:
    """What a step did wrongly: a trainable tensor without gradient or unmoved, a frozen one with either."""
    wrong = []
    for name, parameter in network.named_parameters():
        moved = not torch.equal(parameter, before[name])
        pushed = parameter.grad is not None and bool(parameter.grad.any())
        if (moved, pushed) != (parameter.requires_grad,) * 2 or (parameter.grad is None) == parameter.requires_grad:
            wrong.append(f"{name}: trainable {parameter.requires_grad}, moved {moved}, gradient {pushed}")
    return wrong


def parameters_of(network: FaceEncoder) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_layernorm_tuning_trains_the_published_number_of_parameters(name):
    network = on_meta(name)
    select_trainable(network, "layernorm", LORA)
    learning, total = count_parameters(network)
    assert (total - count_parameters(network.head)[1], learning) == PUBLISHED[name]


def test_bitfit_trains_the_published_number_of_biases_and_the_head():
    network = on_meta("ViT-L-14")
    select_trainable(network, "bitfit", LORA)
    assert count_parameters(network.visual)[0] == 272_384
    assert count_parameters(network.head)[0] == 2_050


@pytest.mark.parametrize("name", PUBLISHED)
def test_head_tuning_trains_the_head_alone_and_full_everything(name):
    network = on_meta(name)
    select_trainable(network, "head", LORA)
    assert count_parameters(network)[0] == count_parameters(network.head)[1]
    select_trainable(network, "full", LORA)
    assert len(set(count_parameters(network))) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Per layer: D in and 3 D out, D in and D out.
        ("ViT-L-14", 24 * (4 + 2) * 1024),
        # The same, and the pooling block: D to D, D to 2 D, D to D.
        ("PE-Core-L-14", (24 * (4 + 2) + 2 + 3 + 2) * 1024),
        # Four of D to D.
        ("DINOv3-L-16", 24 * 4 * 2 * 1024),
    ],
)
def test_lora_of_rank_one_trains_two_vectors_per_matrix_of_the_attention(name, expected):
    network = on_meta(name)
    select_trainable(network, "lora", LORA)
    assert count_parameters(network)[0] == expected + 2_050
    assert all(".lora_" in name for name, p in network.visual.named_parameters() if p.requires_grad)


@pytest.mark.slow
@pytest.mark.parametrize("tune", MODES)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_step_moves_what_is_trainable_and_nothing_else(name, tune):
    """LoRA takes two: its second factor is zero at first, and so is the first one's gradient."""
    network = shallow(name)
    select_trainable(network, tune, LORA)
    before = parameters_of(network)
    trained(network, 2 if tune == "lora" else 1, side_of(name))
    assert complaints(network, before) == []


@pytest.mark.parametrize("tune", MODES)
def test_a_step_of_the_demos_encoder_moves_what_is_trainable_and_nothing_else(tune):
    network = small()
    select_trainable(network, tune, LORA)
    before = parameters_of(network)
    trained(network, 2 if tune == "lora" else 1, 64)
    assert complaints(network, before) == []


def test_that_check_catches_lora_on_a_layer_that_attention_reads_past():
    """The reference's default target, out_proj, on open_clip's own blocks."""
    from peft import LoraConfig, inject_adapter_in_model

    network = small()
    for block in network.visual.transformer.resblocks:
        block.attn = nn.MultiheadAttention(192, 3, batch_first=True).requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=1, lora_alpha=32, target_modules=["out_proj"]), network.visual)
    before = parameters_of(network)
    trained(network, 2, 64)
    caught = complaints(network, before)
    assert len(caught) == 4 * 2
    assert all(".out_proj.lora_" in complaint and "moved False, gradient False" in complaint for complaint in caught)


@pytest.mark.parametrize("tune", MODES)
def test_what_was_frozen_before_makes_no_difference(tune):
    thawed, frozen = small(), small().requires_grad_(False)
    for network in (thawed, frozen):
        select_trainable(network, tune, LORA)
    assert count_parameters(frozen) == count_parameters(thawed)


@pytest.mark.parametrize("tune", MODES)
def test_the_optimiser_holds_what_is_trainable_and_nothing_else(tune):
    network = small()
    select_trainable(network, tune, LORA)
    held = [id(p) for group in parameter_groups(network, 0.1) for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def test_norms_and_biases_never_decay():
    network = small()
    select_trainable(network, "layernorm", LORA)
    decayed, spared = parameter_groups(network, 0.1)
    assert [id(parameter) for parameter in decayed["params"]] == [id(network.head.weight)]
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0
    assert len(spared["params"]) == 2 * (2 + 2 * 4) + 1


@pytest.mark.parametrize("name", ["ViT-B-32", "PE-Core-B-16", "DINOv3-B-16"])
def test_merged_lora_is_a_plain_encoder_with_the_same_answers(name):
    network = shallow(name)
    for part, parameter in network.named_parameters():
        if "gamma" in part:  # DINOv3's layer scale begins at 1e-5, which hides the attention
            nn.init.ones_(parameter)
    plain = copy.deepcopy(network)
    select_trainable(network, "lora", LORA)
    trained(network, 3, side_of(name))
    pixels = torch.randn(2, 3, side_of(name), side_of(name))
    untouched = parameters_of(network)
    merged = merge(network).eval()
    with torch.no_grad():
        learned = network.eval()(pixels)
        before = plain.eval()(pixels)
        load_strictly(plain, merged.state_dict(), "the merged one")
        for answer in (merged(pixels), plain(pixels)):
            torch.testing.assert_close(answer.logits, learned.logits, atol=1e-5, rtol=0)
            torch.testing.assert_close(answer.embedding, learned.embedding, atol=1e-5, rtol=0)
    assert (before.embedding - learned.embedding).abs().max() > 1e-3
    assert parameters_of(network).keys() == untouched.keys()
    assert all(torch.equal(parameter, untouched[name]) for name, parameter in network.named_parameters())


def test_merging_adds_the_product_of_the_factors_times_alpha_over_rank():
    network = small()
    old = network.visual.transformer.resblocks[1].attn.in_proj_weight.detach().clone()
    select_trainable(network, "lora", Lora(rank=2, alpha=3, dropout=0))
    layer = network.visual.transformer.resblocks[1].attn.in_proj
    nn.init.normal_(layer.lora_B["default"].weight)
    expected = old + 3 / 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(merge(network).visual.transformer.resblocks[1].attn.in_proj_weight, expected)


def test_loras_dropout_is_at_work_in_training_alone():
    network = small()
    select_trainable(network, "lora", Lora(dropout=0.5))
    trained(network, 2, 64)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(network.train()(pixels).logits, network(pixels).logits)
        assert torch.equal(network.eval()(pixels).logits, network(pixels).logits)


def test_lora_begins_with_the_answers_of_the_plain_encoder():
    network = small().eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = network(pixels).logits
        select_trainable(network, "lora", LORA)
        torch.testing.assert_close(network.eval()(pixels).logits, before, atol=1e-6, rtol=0)


def test_merging_keeps_the_mode_and_leaves_other_encoders_alone():
    network = small()
    assert merge(network) is network
    select_trainable(network, "lora", LORA)
    assert all(part.training for part in merge(network.train()).modules())
    assert not any(part.training for part in merge(network.eval()).modules())


def test_lora_on_lora_is_refused():
    network = small()
    select_trainable(network, "lora", LORA)
    with pytest.raises(ValueError, match="merge"):
        select_trainable(network, "layernorm", LORA)
