"""Triton adapter: a frame and candidate faces in, aligned crops and what is said of each face out."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from lnclip.allocation import keep_freed_memory
from lnclip.detection import Candidates, choose_faces
from lnclip.errors import LnclipError
from lnclip.preprocess import cut_faces
from lnclip.scoring import RequestParameters
from lnclip.spec import PreprocessSpec


class TritonPythonModel:
    """One image per request; the spec beside this file says how crops are cut."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the spec, and the cap that keeps one image within the encoder's largest batch."""
        cv2.setNumThreads(1)
        keep_freed_memory()
        version = Path(args["model_repository"]) / args["model_version"]
        self.spec = PreprocessSpec.model_validate_json((version / "spec.json").read_bytes())
        self.spec_words = self.spec.spec_id.words()
        parameters = json.loads(args["model_config"])["parameters"]
        self.max_faces_cap = int(parameters["max_faces_cap"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        frame, boxes, scores, landmarks, detector_ids = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in ("frame", "boxes", "scores", "landmarks", "detector_id")
        )
        [[detector_id]] = detector_ids.tolist()
        try:
            wanted = RequestParameters.parse(json.loads(request.parameters()))
            choice = wanted.face_choice(detector_id, self.max_faces_cap)
            found = choose_faces(Candidates(boxes, scores, landmarks), frame.shape[1::-1], choice)
            faces = cut_faces(frame, found, detector_id, self.spec)
        except LnclipError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        # The encoder takes no empty batch: without a face a black crop goes instead, and face_verdict drops its score.
        crops = faces.crops if len(faces.crops) else np.zeros((1, *faces.crops.shape[1:]), np.uint8)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("crops", crops),
                pb_utils.Tensor("face_box", found.boxes),
                pb_utils.Tensor("face_landmarks", found.landmarks),
                pb_utils.Tensor("face_score", found.scores),
                pb_utils.Tensor("face_flags", np.array(faces.flags, np.object_)),
                pb_utils.Tensor("num_faces", np.array([len(faces.flags)], np.int32)),
                pb_utils.Tensor("aligner_spec_id", self.spec_words),
            ]
        )
