"""ONNX Runtime on the CPU, for the detectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lnclip.errors import ArtifactError


class OnnxSession(Protocol):
    """What we use of ``onnxruntime.InferenceSession``."""

    def run(
        self, output_names: list[str] | None, input_feed: Mapping[str, NDArray[np.generic]]
    ) -> list[NDArray[np.float32]]:
        """The outputs named, in that order; None is all of them in the graph's order."""
        ...


def open_session(path: Path, threads: int) -> OnnxSession:
    """Load a graph.

    Args:
        path: the .onnx file.
        threads: that work on one call; 1 where processes give the parallelism.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors alone: it warns about every graph with a fixed batch
    try:
        session: OnnxSession = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except (
        failures.NoSuchFile,
        failures.InvalidArgument,  # an empty file
        failures.InvalidProtobuf,
        failures.InvalidGraph,
        failures.Fail,
    ) as error:
        raise ArtifactError(f"{path} cannot be loaded: {error}") from error
    return session
