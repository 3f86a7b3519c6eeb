"""RetinaFace on the CPU by ONNX Runtime: the graph does it all.

The file comes from ``python -m export face-detector retinaface``; a GPU serves the same one.
"""

from __future__ import annotations

from pathlib import Path

from lnclip.detection import Candidates, Pixels
from lnclip.onnx_session import open_session

GRAPH = "model.onnx"
"""As Triton's ONNX Runtime backend wants it named."""


class RetinaFaceOnnx:
    """One call for the whole batch."""

    detector_id = 1

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load model.onnx.

        Raises:
            ArtifactError: it is missing or damaged.
        """
        self._session = open_session(folder / GRAPH, threads)

    def detect(self, letterboxes: Pixels) -> Candidates:
        """Candidates of (B, 640, 640, 3) RGB letterboxes, in letterbox pixels."""
        return Candidates(*self._session.run(["boxes", "scores", "landmarks"], {"letterbox": letterboxes}))
