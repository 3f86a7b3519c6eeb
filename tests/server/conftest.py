"""A real tritonserver with a trivial model, for tests of how it is run rather than of what it serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lnclip.running import RunningServer
from server.embedded import StartOptions, discard, start

CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 0
input [ {{ name: "seconds" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "slept" data_type: TYPE_FP32 dims: [ 1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 2 }} ]
"""

SLEEPER = """
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.respond(request) for request in requests]

    def respond(self, request):
        seconds = pb_utils.get_input_tensor_by_name(request, "seconds").as_numpy()
        time.sleep(float(seconds[0]))
        return pb_utils.InferenceResponse([pb_utils.Tensor("slept", seconds)])
"""


def write_model(repository: Path, name: str = "sleeper", source: str = SLEEPER) -> Path:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(CONFIG.format(name=name))
    (repository / name / "1" / "model.py").write_text(source)
    return repository


def sleep(server: RunningServer, seconds: float) -> float:
    """One request that takes that long; gives what the model answered."""
    import tritonclient.grpc as triton

    value = triton.InferInput("seconds", [1], "FP32")
    value.set_data_from_numpy(np.array([seconds], np.float32))
    with triton.InferenceServerClient(server.grpc_url) as client:
        return float(client.infer("sleeper", [value], client_timeout=30).as_numpy("slept")[0])


@pytest.fixture(scope="session")
def sleeper_repository(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("sleeper"))


@pytest.fixture(scope="session")
def shared_run_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("shared") / ".run"


@pytest.fixture(scope="session")
def shared_server(sleeper_repository, shared_run_dir):
    """For tests that leave it as it is."""
    yield start(StartOptions(sleeper_repository, run_dir=shared_run_dir))
    discard(shared_run_dir)


@pytest.fixture
def run_dir(tmp_path):
    """A run folder whose server, if a test leaves one, is stopped."""
    folder = tmp_path / ".run"
    yield folder
    discard(folder)
