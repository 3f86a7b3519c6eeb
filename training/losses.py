"""What training minimises: cross-entropy, and two terms that shape the embedding on its sphere.

All in float32, whatever autocast makes of the network. Legend: N faces, D embedding size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lnclip.encoder import Encoding
from training.config import TrainConfig

UNIFORMITY_SHARPNESS = 2.0
UNIFORMITY_FLOOR = 1e-6
"""t of the Gaussian potential, and the least mean that is still distinguished. Source: arXiv 2508.06248's code."""


class Losses(NamedTuple):
    """One step's, each a single number."""

    total: Tensor
    """What is minimised: terms with weight 0 are reported but not in it."""

    cross_entropy: Tensor
    alignment: Tensor
    uniformity: Tensor


def compute(encoding: Encoding, columns_N: Tensor, config: TrainConfig) -> Losses:
    """Loss of one batch.

    Args:
        encoding: of the faces of all devices.
        columns_N: the logit that each of their labels names.
        config: gives label smoothing and weights.
    """
    cross_entropy = nn.functional.cross_entropy(
        encoding.logits.float(), columns_N, label_smoothing=config.label_smoothing
    )
    with torch.set_grad_enabled(torch.is_grad_enabled() and config.alignment_weight > 0):
        aligned = alignment(encoding.embedding, columns_N)
    with torch.set_grad_enabled(torch.is_grad_enabled() and config.uniformity_weight > 0):
        uniform = uniformity(encoding.embedding)
    total = cross_entropy
    if config.alignment_weight:
        total = total + config.alignment_weight * aligned
    if config.uniformity_weight:
        total = total + config.uniformity_weight * uniform
    return Losses(total, cross_entropy, aligned, uniform)


def alignment(embedding_ND: Tensor, columns_N: Tensor) -> Tensor:
    """Mean squared distance over all unordered pairs of one label, both labels' pairs pooled; 0 without a pair.

    The squared distances of n points' pairs add up to n times those from their mean.

    Source: arXiv 2508.06248's code; Wang and Isola, arXiv 2005.10242, with labels in place of views.
    """
    embedding_ND = embedding_ND.float()
    total, pairs = embedding_ND.new_zeros(()), 0
    for column in (0, 1):
        members = embedding_ND[columns_N == column]
        count = len(members)
        if count > 1:
            total = total + count * (members - members.mean(dim=0)).square().sum()
            pairs += count * (count - 1) // 2
    return total / max(1, pairs)


def uniformity(embedding_ND: Tensor) -> Tensor:
    """Logarithm of the mean of exp(-2 d^2) over all unordered pairs, at least 1e-6; 0 without a pair.

    Zero when all points coincide, and the lower the more evenly they cover the sphere. Labels play no part.

    Source: as ``alignment``.
    """
    if len(embedding_ND) < 2:
        return embedding_ND.new_zeros((), dtype=torch.float32)
    potential = torch.exp(-UNIFORMITY_SHARPNESS * torch.pdist(embedding_ND.float()).square())
    return potential.mean().clamp_min(UNIFORMITY_FLOOR).log()
