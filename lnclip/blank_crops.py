"""A black crop costs as much as a face: its answer is computed once.

The aligner sends one where an image has no face, for a batch may not be empty, and what the encoder says of it is
dropped. On a processor that is a second of ViT-L/14 for each such image.
"""

from __future__ import annotations

import numpy as np

from lnclip.engines import Crops, EncoderAnswer, Runner


class BlankCropsSpared:
    """An entered runner, which sees black crops once."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._blank: EncoderAnswer | None = None

    def run(self, crops_NHWC: Crops) -> EncoderAnswer:
        """As ``Runner.run``."""
        is_blank = ~crops_NHWC.any(axis=(1, 2, 3))
        if not is_blank.any():
            return self._runner.run(crops_NHWC)
        if self._blank is None:
            self._blank = self._runner.run(np.zeros_like(crops_NHWC[:1]))
        answer = EncoderAnswer._make(np.repeat(part, len(crops_NHWC), axis=0) for part in self._blank)
        if not is_blank.all():
            for whole, part in zip(answer, self._runner.run(crops_NHWC[~is_blank]), strict=True):
                whole[~is_blank] = part
        return answer
