"""Does the server answer? Asked through all of it, for Triton's own readiness says less.

Seen: a stub that was killed is not started again, half the requests fail, and readiness stays 200.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from lnclip.contract import ENSEMBLE
from lnclip.errors import ServerError
from lnclip.running import RunningServer
from server import processes
from server.model_configs import config_file, instances, load_config
from server.repository import model_names

PROBE_S = 20.0
"""On a busy server the probe waits in the queues with everybody else."""

GREY_PPM = b"P6 64 64 255\n" + bytes([128]) * (64 * 64 * 3)
"""An image without a face: the smallest thing that goes through every model."""


def missing_instances(server: RunningServer, run_dir: Path) -> list[str]:
    """The Python model instances whose stub process does not run, as Triton names them.

    Raises:
        ConfigError: a config of the served repository cannot be read.
    """
    running = {
        argument for process in processes.members(server.pid, run_dir) for argument in process.arguments[-2:]
    }  # the stub's last two arguments: instance, "DEFAULT"
    expected: list[str] = []
    for name in model_names(server.repository):
        config = load_config(config_file(server.repository / name, server.flavour))
        if config.backend == "python":
            expected += instances(config)
    return [instance for instance in expected if instance not in running]


def probe(server: RunningServer) -> float | None:
    """Milliseconds for one grey image through the ensemble; None when the server has no ensemble.

    Raises:
        ServerError: the answer did not come, or is not the one an image without a face has.
    """
    if ENSEMBLE not in model_names(server.repository):
        return None
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([GREY_PPM], np.object_))
    began = time.perf_counter()
    with triton.InferenceServerClient(server.grpc_url) as client:
        try:
            answer = client.infer(ENSEMBLE, [image], client_timeout=PROBE_S).as_numpy("verdict")
        except InferenceServerException as error:
            raise ServerError(f"{ENSEMBLE} does not answer a test image: {error.message()}") from error
    if answer is None or answer.tolist() != [b"no_face"]:
        raise ServerError(f"{ENSEMBLE} says {answer} of a grey image, not no_face")
    return (time.perf_counter() - began) * 1e3
