"""The plan's runner without a GPU: torch's GPU calls go to the processor, and a plan of Python fills the outputs."""

import ctypes
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.engine_builders import Builder
from export.plan_runner import PlanRunner
from lnclip.contract import CROPS, ENCODER_OUTPUTS
from lnclip.errors import ArtifactError, EngineError

HANDLE = 77
"""Of the runner's own stream; torch's default one is 0."""

LARGEST, SIDE, WIDTH = 4, 2, 3


class Context:
    """Answers with the mean of a crop, in the memory that it was given, as TensorRT's does."""

    def __init__(self, gpu):
        self.gpu, self.addresses, self.shape, self.executed = gpu, {}, None, []

    def set_input_shape(self, name, shape):
        assert name == CROPS.name
        self.shape = shape
        return shape[0] <= LARGEST

    def get_tensor_shape(self, name):
        return (self.shape[0], {"embedding": WIDTH, "artifact_id": 2, "spec_id": 2}.get(name, 1))

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        self.executed.append((stream, self.gpu.current, dict(self.addresses)))
        crops = self._memory(CROPS.name, ctypes.c_uint8, self.shape)
        for output in ENCODER_OUTPUTS:
            kind = ctypes.c_float if output.dtype == "FP32" else ctypes.c_int32
            self._memory(output.name, kind, self.get_tensor_shape(output.name))[:] = crops.mean(axis=(1, 2, 3))[:, None]
        return crops.max() < 255  # such a crop fails

    def _memory(self, name, kind, shape):
        address = ctypes.cast(self.addresses[name], ctypes.POINTER(kind))
        return np.ctypeslib.as_array(address, tuple(shape))


@pytest.fixture
def gpu(monkeypatch):
    """Its ``current`` is the stream that torch works on."""
    found = SimpleNamespace(current=0, copied_on=[])

    @contextmanager
    def stream(chosen):
        before, found.current = found.current, chosen.cuda_stream
        yield
        found.current = before

    def cuda(tensor):
        found.copied_on.append(found.current)
        return tensor.clone()

    def cpu(tensor):
        found.copied_on.append(found.current)
        return tensor.clone()

    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda shape, *, dtype, device: empty(shape, dtype=dtype))
    monkeypatch.setattr(torch.Tensor, "cuda", cuda)
    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(cuda_stream=HANDLE))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    return found


@pytest.fixture
def context(gpu):
    return Context(gpu)


@pytest.fixture
def runner(context, tmp_path):
    def deserialise(plan):
        return SimpleNamespace(create_execution_context=lambda: context) if plan else None

    logger = type("Logger", (), {"WARNING": 1, "__init__": lambda self, level: None})
    api = SimpleNamespace(
        __version__="11.1",
        Logger=logger,
        Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=deserialise),
    )
    (tmp_path / "model.plan").write_bytes(b"plan")
    return PlanRunner(tmp_path / "model.plan", Builder("tensorrt", api))


def _crops(*values: int) -> np.ndarray:
    return np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in values])


def test_everything_happens_on_the_runners_own_stream(runner, gpu, context):
    with runner:
        runner.run(_crops(1, 2))
    [(handle, current, addresses)] = context.executed
    assert handle == current == HANDLE
    assert set(gpu.copied_on) == {HANDLE}
    assert addresses.keys() == {CROPS.name, *(output.name for output in ENCODER_OUTPUTS)}
    assert gpu.current == 0, "torch is given its stream back"


def test_outputs_are_allocated_once_for_each_batch_size(runner, context):
    names = [output.name for output in ENCODER_OUTPUTS]
    with runner:
        for crops in (_crops(1, 2), _crops(3), _crops(4, 5), _crops(6)):
            runner.run(crops)
    two, one, two_again, one_again = ([each[2][name] for name in names] for each in context.executed)
    assert (two_again, one_again) == (two, one)
    assert not set(two) & set(one)


def test_every_answer_is_of_its_own_crops_and_stays_as_it_was(runner):
    with runner:
        answers = [runner.run(crops) for crops in (_crops(1, 2), _crops(3), _crops(4, 5))]
    assert [answer.p_fake[:, 0].tolist() for answer in answers] == [[1, 2], [3], [4, 5]]
    assert [answer.embedding.shape for answer in answers] == [(2, WIDTH), (1, WIDTH), (2, WIDTH)]
    assert [answer.artifact_id.dtype for answer in answers] == [np.int32] * 3


def test_a_batch_that_the_plan_does_not_take_is_an_error_and_the_next_one_is_answered(runner):
    with runner:
        with pytest.raises(EngineError, match="does not take crops of shape"):
            runner.run(_crops(*range(LARGEST + 1)))
        assert runner.run(_crops(7)).p_fake.tolist() == [[7]]


def test_a_plan_that_fails_is_an_error(runner):
    with runner, pytest.raises(EngineError, match="failed on 1 crops"):
        runner.run(_crops(255))


def test_a_plan_of_another_gpu_is_refused(runner):
    runner.path.write_bytes(b"")
    with pytest.raises(ArtifactError, match="another version or for another GPU"):
        runner.__enter__()
