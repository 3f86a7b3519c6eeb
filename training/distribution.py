"""One run on several devices, a process each: what the processes tell each other.

Legend: N rows of one process, J = N times the number of processes.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

Part = TypeVar("Part")


def gathered(rows: Tensor) -> Tensor:
    """All processes' rows, (J, ...) of (N, ...), in their order; gradients find their way back.

    The way back adds up what every process has for a row. So when each of them computes the same
    loss from gathered rows, and DDP takes the mean of their parameters' gradients, that mean is
    the gradient of the loss: one process with all the rows would have the same.
    """
    return cast("Tensor", _Gather.apply(rows)) if distributed.is_initialized() else rows


def all_parts(part: Part) -> list[Part]:
    """Every process's part, in their order."""
    if not distributed.is_initialized():
        return [part]
    parts: list[Part] = [part] * distributed.get_world_size()
    distributed.all_gather_object(parts, part)
    return parts


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401  # torch's own
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_ctx: Any, gradients: Tensor) -> Tensor:  # noqa: ANN401
        gradients = gradients.contiguous()
        distributed.all_reduce(gradients)
        return gradients.chunk(distributed.get_world_size())[distributed.get_rank()]
