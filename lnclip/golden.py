"""A few crops and the answers they must get, kept beside an export: the last check before serving.

It is no parity report: that was made at export.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from lnclip.artifact import Identity, Precision
from lnclip.engines import EncoderAnswer, finite_rows
from lnclip.errors import ArtifactError, ParityError

INT8_DP = 5e-2
"""Between two processors' answers of one INT8 graph: those without VNNI sum the products differently."""


class Golden(NamedTuple):
    """Crops and what was said of them at export."""

    crops: NDArray[np.uint8]
    """(G, S, S, 3) RGB."""

    p_fake: NDArray[np.float32]
    """(G, 1), by the reference."""

    p_fake_int8: NDArray[np.float32] = np.zeros((0, 1), np.float32)
    """(G, 1), by the INT8 graph itself, which no limit ties to the reference's; none if not exported."""

    def expected(self, precision: Precision, max_dp: float) -> tuple[NDArray[np.float32], float]:
        """Answers of a graph of that precision, (G, 1), and how far it may be from them.

        Raises:
            ArtifactError: there are none.
        """
        if precision != "int8":
            return self.p_fake, max_dp
        if len(self.p_fake_int8) != len(self.crops):
            raise ArtifactError("the golden answers are of an export without int8: export again with it")
        return self.p_fake_int8, INT8_DP

    def save(self, path: Path) -> None:
        """Write an .npz."""
        np.savez_compressed(path, **self._asdict())

    @classmethod
    def load(cls, path: Path) -> Golden:
        """Read it back.

        Raises:
            ArtifactError: it is missing or damaged.
        """
        try:
            with np.load(path) as arrays:
                return cls(*(arrays[name] for name in cls._fields))
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise ArtifactError(f"{path} cannot be read: {error}. Export again.") from error


def check_answer(answer: EncoderAnswer, golden: Golden, identity: Identity, max_dp: float) -> float:
    """Hold what an engine said of the golden crops to the reference's answers.

    Args:
        answer: for all golden crops, in their order.
        golden: crops and reference answers.
        identity: the weights that should have answered.
        max_dp: largest |p - p_reference| allowed; an INT8 graph is held to its own answers instead.

    Returns:
        The largest difference.

    Raises:
        ParityError: other weights answered, or something else.
        ArtifactError: there are no golden answers for this precision.
    """
    if not (answer.artifact_id == identity.artifact_id.words()).all():
        raise ParityError(f"it answers for other weights than those of its model.json ({identity.artifact_id.hex})")
    wanted, max_dp = golden.expected(identity.precision, max_dp)
    dp = np.abs(answer.p_fake - wanted)
    if not (finite_rows(answer).all() and dp.max() <= max_dp):
        raise ParityError(f"|dp| is {dp.max():.2g} on the golden crops, at most {max_dp:g} is allowed")
    return float(dp.max())
