"""A few crops and the answers they must get, kept beside an export: the last check before serving.

    .venv-triton/bin/python -m lnclip.golden FOLDER golden.npz MAX_DP

loads FOLDER/model.onnx as the served adapter does, in a process of its own, and prints the engine
that passed. It is no parity report: that was made at export.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from lnclip.artifact import Artifact
from lnclip.commands import run
from lnclip.engines import OpenVinoRunner, finite_rows
from lnclip.errors import ArtifactError, ParityError


class Golden(NamedTuple):
    """Crops and what the reference said of them."""

    crops: NDArray[np.uint8]
    """(G, S, S, 3) RGB."""

    p_fake: NDArray[np.float32]
    """(G, 1)."""

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
                return cls(arrays["crops"], arrays["p_fake"])
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise ArtifactError(f"{path} cannot be read: {error}. Export again.") from error


def check_folder(folder: Path, golden: Golden, max_dp: float) -> str:
    """Load a version folder of the CPU flavour and hold it to the golden answers.

    Args:
        folder: has model.onnx and model.json.
        golden: crops and reference answers.
        max_dp: largest |p - p_reference| allowed.

    Returns:
        The engine, as model.json's ``runtime`` names it.

    Raises:
        ArtifactError: the folder is incomplete or damaged.
        ParityError: the graph answers something else, or for other weights.
    """
    identity = Artifact.load(folder / "model.json").identity
    with OpenVinoRunner(folder / "model.onnx", identity.precision) as runner:
        answer = runner.run(golden.crops)
    if not (answer.artifact_id == identity.artifact_id.words()).all():
        raise ParityError(f"{folder / 'model.onnx'} is not the graph of its model.json: it answers for other weights")
    dp = np.abs(answer.p_fake - golden.p_fake)
    if not (finite_rows(answer).all() and dp.max() <= max_dp):
        raise ParityError(
            f"{folder / 'model.onnx'}: |dp| is {dp.max():.2g} on the golden crops, at most {max_dp:g} is allowed"
        )
    return f"OpenVINO {version('openvino')}"


def main() -> None:
    """The command in the module's docstring."""
    folder, golden, max_dp = sys.argv[1:]
    sys.stdout.write(check_folder(Path(folder), Golden.load(Path(golden)), float(max_dp)) + "\n")


if __name__ == "__main__":
    run(main)
