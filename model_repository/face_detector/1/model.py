"""Triton adapter of the CPU flavour: letterboxes in, candidate faces out, by the detector beside this file."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from lnclip.detectors import load_detector


class TritonPythonModel:
    """A batch of letterboxes at a time; every answer has the same fixed rows."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the detector that ``python -m export face-detector`` put here."""
        cv2.setNumThreads(1)
        self.detector = load_detector(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        letterboxes = pb_utils.get_input_tensor_by_name(request, "letterbox").as_numpy()
        found = self.detector.detect(letterboxes)
        detector_id = np.full((len(letterboxes), 1), self.detector.detector_id, np.int32)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("boxes", found.boxes),
                pb_utils.Tensor("scores", found.scores),
                pb_utils.Tensor("landmarks", found.landmarks),
                pb_utils.Tensor("detector_id", detector_id),
            ]
        )
