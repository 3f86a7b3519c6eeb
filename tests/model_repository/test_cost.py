"""What the served models do not do twice: encode black crops, and fault in a picture's memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from client import Scorer
from lnclip.running import RunningServer
from server.asking import encode
from server.embedded import StartOptions, discard, start
from server.processes import members
from tests.conftest import jpeg

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / ".run"


@pytest.fixture(scope="module")
def counting_server(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, run_dir: Path
) -> Iterator[RunningServer]:
    """Its encoder answers, for every crop, a hundredth of how many crops the engine was given together."""
    copy = Path(shutil.copytree(repository, tmp_path_factory.mktemp("counting") / "repository"))
    path = copy / "face_encoder" / "1" / "model.onnx"
    model = onnx.load(path)
    graph = model.graph
    [producer] = [node for node in graph.node if "p_fake" in node.output]
    producer.output[list(producer.output).index("p_fake")] = "p_fake_of_weights"
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in (("first", np.int64(0)), ("hundredth", np.float32(0.01)), ("nothing", np.float32(0)))
    )
    graph.node.extend(
        [
            helper.make_node("Shape", ["crops"], ["crops_shape"]),
            helper.make_node("Gather", ["crops_shape", "first"], ["batch"]),
            helper.make_node("Cast", ["batch"], ["batch_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["batch_float", "hundredth"], ["share"]),
            helper.make_node("Mul", ["p_fake_of_weights", "nothing"], ["zeros"]),
            helper.make_node("Add", ["zeros", "share"], ["p_fake"]),
        ]
    )
    onnx.save(model, path)
    yield start(StartOptions(copy, run_dir=run_dir))
    discard(run_dir)


def test_the_engine_gets_the_faces_without_the_black_crops(counting_server: RunningServer) -> None:
    crops = np.full((5, 224, 224, 3), 90, np.uint8)
    crops[[0, 2]] = 0
    np.testing.assert_allclose(encode(counting_server, crops).p_fake[:, 0], [0.01, 0.03, 0.01, 0.03, 0.03], atol=1e-6)


def test_a_decoder_faults_in_its_memory_once(
    counting_server: RunningServer, run_dir: Path, astronaut: np.ndarray
) -> None:
    photo = jpeg(np.tile(astronaut, (2, 3, 1)))  # 1536 x 1024: 4.7 MB of pixels
    requests = 20

    def faults() -> int:
        stubs = [process.pid for process in members(counting_server.pid, run_dir) if "/image_decoder/" in str(process)]
        assert len(stubs) == 2
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in stubs]
        return sum(int(fields[7]) for fields in stats)  # minflt, field 10 of proc(5)

    with Scorer(counting_server.grpc_url) as scorer:
        for _ in range(10):
            assert scorer.score(photo).error is None
        before = faults()
        for _ in range(requests):
            scorer.score(photo)
    assert (faults() - before) / requests < 200  # above 1,000 where it is given back
