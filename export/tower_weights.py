"""The weights of an image tower, by the names that its family gives them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from export.folding import Linear

Weights = Mapping[str, NDArray[np.float32]]
"""``FaceEncoder.state_dict()``: the tower's below ``visual.``, and ``head``."""


class TowerWeights:
    """What lies below ``visual.``."""

    def __init__(self, weights: Weights) -> None:
        """``weights`` of the whole network."""
        self._weights = weights

    def tensor(self, name: str) -> NDArray[np.float32]:
        """One tensor."""
        return self._weights[f"visual.{name}"]

    def pair(self, name: str) -> Linear:
        """The weight and bias of a linear layer, or the gain and shift of a LayerNorm."""
        return Linear(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))
