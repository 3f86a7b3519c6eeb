"""Steps of LayerNorm tuning against the method written out in plain torch: network, loss, optimiser.

The reference uses nothing but arithmetic and torch's automatic gradients, in float64.
Legend: N faces, T tokens, D width.
"""

from __future__ import annotations

import math

import pytest
import torch

from lnclip.architecture import EncoderArchitecture
from lnclip.encoder import FaceEncoder
from training.config import TrainConfig
from training.losses import compute
from training.schedule import learning_rate
from training.tuning import parameter_groups, select_trainable

SMALL = EncoderArchitecture(name="small", width=32, layers=2, heads=2, patch_px=8)
SIDE, STEPS, STEPS_PER_EPOCH = 16, 3, 4
TOLERANCE = 1e-6
"""Of weights near 1: float32's rounding over three steps."""

CONFIG = TrainConfig.model_validate({
    "train_index": "crops.csv", "tune": "layernorm", "alignment_weight": 0.1, "uniformity_weight": 0.5,
    "learning_rate": 3e-2, "final_learning_rate": 1e-2, "warmup_epochs": 1, "restart_epochs": 10,
    "weight_decay": 0.1,
})  # fmt: skip
"""The second paper's loss; rates a hundred times its own, so that a step is far above the tolerance."""


def layer_norm(x, w, name):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def attention(x_NTD, w, name):
    q, k, v = (x_NTD @ w[f"{name}.in_proj_weight"].T + w[f"{name}.in_proj_bias"]).split(32, dim=-1)
    heads = []
    for columns in (slice(0, 16), slice(16, 32)):
        scores = torch.exp(q[..., columns] @ k[..., columns].transpose(1, 2) / math.sqrt(16))
        heads.append(scores / scores.sum(-1, keepdim=True) @ v[..., columns])
    return linear(torch.cat(heads, -1), w, f"{name}.out_proj")


def quick_gelu(x):
    return x / (1 + torch.exp(-1.702 * x))


def network(pixels, w):
    """Logits and embedding."""
    kernel = w["visual.conv1.weight"].flatten(1)
    patches = [pixels[:, :, top : top + 8, left : left + 8].flatten(1) @ kernel.T for top in (0, 8) for left in (0, 8)]
    first = w["visual.class_embedding"].expand(len(pixels), 32)
    x = torch.stack([first, *patches], dim=1) + w["visual.positional_embedding"]
    x = layer_norm(x, w, "visual.ln_pre")
    for index in range(2):
        block = f"visual.transformer.resblocks.{index}"
        x = x + attention(layer_norm(x, w, f"{block}.ln_1"), w, f"{block}.attn")
        hidden = quick_gelu(linear(layer_norm(x, w, f"{block}.ln_2"), w, f"{block}.mlp.c_fc"))
        x = x + linear(hidden, w, f"{block}.mlp.c_proj")
    feature = layer_norm(x[:, 0], w, "visual.ln_post")
    embedding = feature / torch.sqrt((feature**2).sum(1, keepdim=True))
    return linear(embedding, w, "head"), embedding


def loss_of(logits, z, columns):
    chosen = logits[torch.arange(len(z)), columns]
    cross_entropy = (torch.log(torch.exp(logits).sum(1)) - chosen).mean()
    pairs = [(i, j) for i in range(len(z)) for j in range(i)]
    squared = {pair: ((z[pair[0]] - z[pair[1]]) ** 2).sum() for pair in pairs}
    same = [squared[i, j] for i, j in pairs if columns[i] == columns[j]]
    uniform = torch.log(sum(torch.exp(-2 * value) for value in squared.values()) / len(pairs))
    return cross_entropy + 0.1 * sum(same) / len(same) + 0.5 * uniform


def learns(name):
    """Every LayerNorm and the head."""
    return ".ln_" in name or name.startswith("head.")


def reference_steps(weights, pixels, columns):
    """The weights after Adam's steps, and the losses. Source: Kingma and Ba, arXiv 1412.6980, algorithm 1;
    decay as Loshchilov and Hutter, arXiv 1711.05101, algorithm 2."""
    w = {name: value.double() for name, value in weights.items()}
    names = [name for name in w if learns(name)]
    first, second, losses = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), []
    for step, rate in enumerate((1e-2, 1.5e-2, 2e-2), start=1):  # a quarter of the warm-up each
        leaves = {name: w[name].clone().requires_grad_() for name in names}
        loss = loss_of(*network(pixels.double(), w | leaves), columns)
        losses.append(loss.item())
        for name, gradient in zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
            kept = 1 - rate * 0.1 if name == "head.weight" else 1
            w[name] = kept * w[name] - rate * mean / (torch.sqrt(square) + 1e-8)
    return w, losses


def our_steps(encoder, pixels, columns):
    select_trainable(encoder, CONFIG.tune, CONFIG.lora)
    optimiser = torch.optim.AdamW(parameter_groups(encoder, CONFIG.weight_decay))
    losses = []
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(CONFIG, step, STEPS_PER_EPOCH)
        optimiser.zero_grad()
        encoding = encoder.train()(pixels)
        loss = compute(encoding, columns, CONFIG).total
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = FaceEncoder(SMALL, "quick_gelu", SIDE)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randn(6, 3, SIDE, SIDE), torch.tensor([0, 1, 1, 0, 1, 1])


def test_steps_of_the_whole_model_equal_the_method_written_out(encoder, batch):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    expected, expected_losses = reference_steps(before, *batch)
    losses = our_steps(encoder, *batch)
    assert losses == pytest.approx(expected_losses, abs=TOLERANCE)
    assert losses[-1] < losses[0]
    after = encoder.state_dict()
    assert after.keys() == expected.keys()
    for name, value in after.items():
        torch.testing.assert_close(value.double(), expected[name], atol=TOLERANCE, rtol=0, msg=name)
        moved = (value - before[name]).abs().max()
        assert moved > 100 * TOLERANCE if learns(name) else moved == 0
