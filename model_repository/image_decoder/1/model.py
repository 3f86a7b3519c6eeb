"""Triton adapter: an encoded image in, an upright frame and the detector's letterbox out."""

import json
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from lnclip.allocation import keep_freed_memory
from lnclip.detection import letterbox
from lnclip.errors import ImageError
from lnclip.intake import read_image


class TritonPythonModel:
    """One image per request; an undecodable one fails alone, as INVALID_ARG."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the pixel cap; several of these processes share the cores, so each has one thread."""
        cv2.setNumThreads(1)
        keep_freed_memory()
        megapixels = json.loads(args["model_config"])["parameters"]["max_megapixels"]["string_value"]
        self.max_pixels = int(float(megapixels) * 1_000_000)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        [data] = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        try:
            frame = read_image(data, self.max_pixels)
        except ImageError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        height, width = frame.pixels.shape[:2]
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("frame", frame.pixels),
                pb_utils.Tensor("frame_size", np.array([width, height], np.int32)),
                pb_utils.Tensor("letterbox", letterbox(frame.pixels)[None]),
                pb_utils.Tensor("warnings", np.array(frame.warnings, np.object_)),
            ]
        )
