"""Triton adapter: the faces' scores in, the image's verdict and the model that gave it out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from lnclip.errors import ConfigError, LnclipError, SpecError
from lnclip.identity import ContentId
from lnclip.publication import find_artifact
from lnclip.scoring import RequestParameters, ServedModel, aggregate_faces, verdict


class TritonPythonModel:
    """One image per request. Refuses scores whose crops were cut for other weights."""

    def initialize(self, args: dict[str, str]) -> None:
        """Remember where the encoder's versions lie: answers name their artifact, its model.json describes it."""
        self.encoder = Path(args["model_repository"]).parent / "face_encoder"
        self.models: dict[tuple[ContentId, int], str] = {}

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        try:
            return pb_utils.InferenceResponse(self._judge(request))
        except ConfigError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        except LnclipError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INTERNAL))

    def _judge(self, request: Any) -> list[Any]:
        def read(name: str) -> Any:
            return pb_utils.get_input_tensor_by_name(request, name).as_numpy()

        # All rows of one request were one batch of one encoder version, so the first speaks for all.
        spec_id, aligner_spec_id = (
            ContentId.from_words(read("spec_id")[0]),
            ContentId.from_words(read("aligner_spec_id")),
        )
        if spec_id != aligner_spec_id:
            raise SpecError(f"crops were cut for spec {aligner_spec_id.hex}, the weights need {spec_id.hex}")
        [num_faces] = read("num_faces").tolist()
        face_p_fake = read("p_fake")[:num_faces, 0]
        wanted = RequestParameters.parse(json.loads(request.parameters()))
        p_fake = aggregate_faces(face_p_fake, read("face_box"), wanted.aggregate)
        word = verdict(p_fake, float(read("threshold")[0, 0]))
        model = self._model(ContentId.from_words(read("artifact_id")[0]), int(read("detector_id")[0, 0]))
        return [
            pb_utils.Tensor("verdict", np.array([word], np.object_)),
            pb_utils.Tensor("p_fake", np.array([] if p_fake is None else [p_fake], np.float32)),
            pb_utils.Tensor("face_p_fake", np.ascontiguousarray(face_p_fake)),
            pb_utils.Tensor("model", np.array([model], np.object_)),
        ]

    def _model(self, artifact_id: ContentId, detector_id: int) -> str:
        key = (artifact_id, detector_id)
        if key not in self.models:
            served = ServedModel.describe(find_artifact(self.encoder, artifact_id), detector_id)
            self.models[key] = served.model_dump_json()
        return self.models[key]
