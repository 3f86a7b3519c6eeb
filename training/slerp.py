"""Mixing of features of one class along the great circle between them, between encoder and head.

Legend: N features, D their size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lnclip.errors import ConfigError
from training.config import Slerp

COSINE_LIMIT = 1 - 1e-7
"""Cosines are cut to plus or minus this: a feature met by itself has an angle, and its gradient is finite."""


def mix(features_ND: Tensor, columns_N: Tensor, settings: Slerp, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features and columns of a batch after mixing; "off" returns them as they are.

    replace: each feature becomes a mixture of itself and another (or itself) of its class, at its
    place. expand: the features stay, and mixtures of random pairs of a class follow them up to
    ``settings.size``, classes in the proportions of the batch. A class of one is left alone.
    Mixtures have unit length, in float32; gradients reach both ends.

    Raises:
        ConfigError: the batch is larger than ``settings.size``.

    Source: arXiv 2503.19683's code (replace); the first version of arXiv 2508.06248 (expand).
    """
    if settings.mode == "off":
        return features_ND, columns_N
    features_ND = features_ND.float()
    classes = [members for column in (0, 1) if len(members := torch.nonzero(columns_N == column)[:, 0]) > 1]
    if settings.mode == "replace":
        mixed = features_ND.clone()
        for members in classes:
            order = torch.randperm(len(members), generator=generator, device=generator.device)
            others = members[order.to(members.device)]
            mixed[members] = _mixtures(features_ND[members], features_ND[others], settings, generator)
        return mixed, columns_N
    return _expanded(features_ND, columns_N, classes, settings, generator)


def _expanded(
    features_ND: Tensor, columns_N: Tensor, classes: list[Tensor], settings: Slerp, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The features, and behind them mixtures of each class."""
    wanted = settings.size - len(features_ND)
    if wanted < 0:
        raise ConfigError(f"slerp.size = {settings.size} is less than the {len(features_ND)} features of a batch")
    features, columns = [features_ND], [columns_N]
    left, room = sum(map(len, classes)), wanted
    for members in classes:
        count = round(room * len(members) / left)
        left, room = left - len(members), room - count
        ends = torch.randint(len(members), (2, count), generator=generator, device=generator.device)
        one, other = members[ends.to(members.device)]
        features.append(_mixtures(features_ND[one], features_ND[other], settings, generator))
        columns.append(columns_N[one])
    return torch.cat(features), torch.cat(columns)


def _mixtures(one_ND: Tensor, other_ND: Tensor, settings: Slerp, generator: torch.Generator) -> Tensor:
    """Row by row, at random shares of the way."""
    low, high = settings.share
    share_N = low + (high - low) * torch.rand(len(one_ND), generator=generator, device=generator.device)
    return slerp(one_ND, other_ND, share_N.to(one_ND.device))


def slerp(one_ND: Tensor, other_ND: Tensor, share_N: Tensor) -> Tensor:
    """Points on the great circle from one direction to another, (N, D), unit length; share 0 is one."""
    one_ND, other_ND = nn.functional.normalize(one_ND, dim=1), nn.functional.normalize(other_ND, dim=1)
    share_N1 = share_N[:, None]
    angle_N1 = (one_ND * other_ND).sum(dim=1, keepdim=True).clamp(-COSINE_LIMIT, COSINE_LIMIT).acos()
    weighted = torch.sin((1 - share_N1) * angle_N1) * one_ND + torch.sin(share_N1 * angle_N1) * other_ND
    return weighted / torch.sin(angle_N1)
