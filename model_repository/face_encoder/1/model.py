"""Triton adapter of the CPU flavour: crops in, p_fake and embedding out, by OpenVINO."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from lnclip.artifact import Artifact
from lnclip.blank_crops import BlankCropsSpared
from lnclip.contract import ENCODER_OUTPUTS
from lnclip.engine_threads import EngineThreads
from lnclip.engines import EncoderAnswer, OpenVinoRunner, finite_rows
from lnclip.errors import SpecError
from lnclip.spec import PreprocessSpec

OUTPUT_NAMES = [output.name for output in ENCODER_OUTPUTS]


class TritonPythonModel:
    """All requests that wait are encoded as one batch; this one process owns the cores."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load model.onnx; refuse to serve crops that the aligner cuts for another preprocessing.

        Raises:
            SpecError: the aligner's spec is not the one that these weights were trained with.
        """
        folder = Path(args["model_repository"])
        version = folder / args["model_version"]
        identity = Artifact.load(version / "model.json").identity
        spec_path = folder.parent / "face_aligner" / "1" / "spec.json"
        aligner_spec = PreprocessSpec.model_validate_json(spec_path.read_bytes())
        if aligner_spec != identity.spec:
            raise SpecError(
                f"face_aligner cuts crops for spec {aligner_spec.spec_id.hex}, face_encoder version "
                f"{args['model_version']} needs {identity.spec.spec_id.hex}: publish into a new repository"
            )
        wanted = EngineThreads.parse(args["model_config"])
        self.runner = OpenVinoRunner(version / "model.onnx", identity.precision, **wanted._asdict())
        self.runner.__enter__()
        self.encoder = BlankCropsSpared(self.runner)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        crops = [pb_utils.get_input_tensor_by_name(request, "crops").as_numpy() for request in requests]
        answer = self.encoder.run(np.concatenate(crops))
        ends = itertools.accumulate(map(len, crops), initial=0)
        parts = (EncoderAnswer(*(rows[first:end] for rows in answer)) for first, end in itertools.pairwise(ends))
        return [_respond(part) for part in parts]

    def finalize(self) -> None:
        """Free the engine."""
        self.runner.__exit__(None, None, None)


def _respond(answer: EncoderAnswer) -> Any:
    """What one request is told of its crops; a NaN is an error of that request alone."""
    if not finite_rows(answer).all():
        message = "the encoder answered what is no number: its weights are damaged, publish another version"
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, getattr(answer, name)) for name in OUTPUT_NAMES])
