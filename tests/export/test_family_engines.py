"""TensorRT-RTX reads and builds every family's typed graphs, on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from export.engine_builders import find_builder, make_logger
from export.graph_files import half_graph, int8_graph
from export.plan_building import layer_types, parse
from tests.export.networks import graph_of, tiny_crops, write_tiny_run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", ["clip", "pe", "dinov3"])
def test_fp16_graphs_keep_their_types(family: str, tmp_path: Path) -> None:
    model, _ = half_graph(graph_of(write_tiny_run(tmp_path / "run", family)), tiny_crops())
    onnx.save(model, tmp_path / "half.onnx")
    rtx = find_builder("tensorrt_rtx")
    found = layer_types(parse(rtx, make_logger(rtx, tmp_path / "log"), tmp_path / "half.onnx"))
    products = {name: kind for name, layer, kind in found if layer == "MATRIX_MULTIPLY"}
    assert {kind for name, kind in products.items() if name != "logits.product"} == {"HALF"}
    assert products["logits.product"] == "FLOAT"
    islands = {kind for _, layer, kind in found if layer in ("NORMALIZATION", "SOFTMAX", "CONVOLUTION")}
    assert islands == {"FLOAT"}


@pytest.mark.parametrize("family", ["clip", "pe", "dinov3"])
def test_int8_graphs_are_read(family: str, tmp_path: Path) -> None:
    model, report = int8_graph(graph_of(write_tiny_run(tmp_path / "run", family)).model, tiny_crops())
    onnx.save(model, tmp_path / "int8.onnx")
    rtx = find_builder("tensorrt_rtx")
    found = layer_types(parse(rtx, make_logger(rtx, tmp_path / "log"), tmp_path / "int8.onnx"))
    quantised = [name for name, layer, kind in found if (layer, kind) == ("QUANTIZE", "INT8")]
    assert len(quantised) >= report.quantised_products / 2
