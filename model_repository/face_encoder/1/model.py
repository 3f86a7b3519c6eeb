"""Triton adapter of the CPU flavour: crops in, p_fake and embedding out, by OpenVINO."""

from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from lnclip.artifact import Artifact
from lnclip.contract import ENCODER_OUTPUTS
from lnclip.engines import OpenVinoRunner
from lnclip.errors import SpecError
from lnclip.spec import PreprocessSpec


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
        self.runner = OpenVinoRunner(version / "model.onnx", identity.precision)
        self.runner.__enter__()

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order."""
        crops = [pb_utils.get_input_tensor_by_name(request, "crops").as_numpy() for request in requests]
        answer = self.runner.run(np.concatenate(crops))
        ends = np.cumsum([len(batch) for batch in crops])[:-1]
        parts = zip(*(np.split(values, ends) for values in answer), strict=True)
        names = [output.name for output in ENCODER_OUTPUTS]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(*pair) for pair in zip(names, part, strict=True)])
            for part in parts
        ]

    def finalize(self) -> None:
        """Free the engine."""
        self.runner.__exit__(None, None, None)
