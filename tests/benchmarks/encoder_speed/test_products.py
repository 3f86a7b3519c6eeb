"""The FLOP of CLIP's towers: golden numbers, written by hand from the papers' sizes, and what torch itself counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.encoder_speed.products import flop_per_image, products
from benchmarks.open_clip_tower import open_clip_tower
from lnclip.architecture import KNOWN
from lnclip.artifact import Identity
from lnclip.encoder import build_encoder
from lnclip.errors import ConfigError

LARGE = KNOWN["ViT-L-14"]
# By hand, two FLOP a multiplication, 257 tokens of 1024 numbers:
# a block: 257 * 2 * 1024 * (3072 + 1024 + 4096 + 4096) = 6,467,616,768 and attention 4 * 257**2 * 1024 = 270,536,704;
# 24 of them: 161,715,683,328; patches: 2 * 256 * 588 * 1024 = 308,281,344.
LARGE_FLOP = 162_023_964_672
# The last block less Q, projection, perceptron and attention's rows of 256 tokens:
# 256 * (2 * 1024 * (1024 + 1024 + 4096 + 4096) + 4 * 257 * 1024) = 5,638,193,152.
LARGE_FLOP_EXPORTED = 156_385_771_520


def test_vit_l_takes_162_gflop():
    assert flop_per_image(LARGE, 224, is_last_whole=True) == LARGE_FLOP


def test_exported_graphs_are_not_credited_with_what_their_last_block_leaves_out():
    assert flop_per_image(LARGE, 224, is_last_whole=False) == LARGE_FLOP_EXPORTED


def test_a_batch_multiplies_as_much_as_its_crops():
    assert sum(product.repeats * product.flop for product in products(LARGE, 224, 8)) == 8 * LARGE_FLOP


def test_shapes_at_batch_two_are_those_of_the_network():
    shapes = {product.name: product[1:] for product in products(LARGE, 224, 2)}
    assert shapes == {
        "patches": (1, 1, 512, 588, 1024),
        "qkv": (24, 1, 514, 1024, 3072),
        "scores": (24, 32, 257, 64, 257),
        "mix": (24, 32, 257, 257, 64),
        "projection": (24, 1, 514, 1024, 1024),
        "fc1": (24, 1, 514, 1024, 4096),
        "fc2": (24, 1, 514, 4096, 1024),
    }


@pytest.mark.parametrize("is_last_whole", [True, False])
def test_torch_counts_the_same(is_last_whole):
    architecture = KNOWN["demo-4x192-p32"]
    identity = Identity(weights_sha256="0" * 64, encoder=architecture, activation="quick_gelu", spec=architecture.spec)
    network = open_clip_tower(identity) if is_last_whole else build_encoder(identity).visual
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        network.train()(torch.zeros(1, 3, 224, 224))  # in training, for attention's fast path is not counted
    assert counter.get_total_flops() == flop_per_image(architecture, 224, is_last_whole=is_last_whole)


def test_refuses_other_families():
    with pytest.raises(ConfigError, match="PE-Core-L-14 is no CLIP encoder"):
        products(KNOWN["PE-Core-L-14"], 224, 1)
