"""One matrix product as a graph of OpenVINO, proven to be computed in the type that was asked for.

Factors arrive in the type itself, so that no conversion is timed. Attention's int8 products are the exception:
OpenVINO computes them in int8 only behind a quantisation of both factors, as the exported graph has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from benchmarks.encoder_speed.products import Product
from lnclip.artifact import Precision
from lnclip.engines import openvino_settings
from lnclip.errors import SetupError

LIMIT = 4.0
"""Standard deviations that int8 spans."""

COMPUTED_IN: dict[Precision, tuple[str, ...]] = {"fp32": ("f32",), "bf16": ("bf16",), "int8": ("i8", "u8")}
"""What OpenVINO's executed graph calls a product's type."""


def openvino_product(shape: Product, precision: Precision) -> Callable[[], object]:
    """The product, compiled; a call does it once with all cores.

    Raises:
        SetupError: OpenVINO would compute it in another type here.
    """
    rng = np.random.default_rng(0)
    pairs = () if shape.is_linear else (shape.pairs,)
    left, right = (*pairs, shape.rows, shape.inner), (*pairs, shape.columns, shape.inner)
    kind = "fp32" if precision == "int8" and not shape.is_linear else precision
    inputs = [_parameter(left, kind)]
    if not shape.is_linear:
        inputs.append(_parameter(right, kind))
        factors = [_as_float(node, precision, quantise=True) for node in inputs]
    else:
        weights = ops.constant(rng.standard_normal(right, np.float32))
        factors = [
            _as_float(inputs[0], precision, quantise=False),
            _quantised(weights, 255) if precision == "int8" else weights,
        ]
    product = ops.matmul(*factors, False, True)
    if precision == "bf16":
        product = ops.convert(product, openvino.Type.bf16)
    settings = openvino_settings(precision, None)
    compiled = openvino.Core().compile_model(openvino.Model([product], inputs), "CPU", settings)
    _check_type(compiled, shape, precision)
    request = compiled.create_infer_request()
    for index, dims in enumerate([left, right][: len(inputs)]):
        request.set_input_tensor(index, _filled(dims, kind, rng))
    infer: Callable[[], object] = request.infer
    return infer


def _parameter(dims: tuple[int, ...], kind: Precision) -> Any:  # noqa: ANN401 - untyped module
    types = {"fp32": openvino.Type.f32, "bf16": openvino.Type.bf16, "int8": openvino.Type.i8}
    return ops.parameter(dims, types[kind])


def _as_float(node: Any, precision: Precision, *, quantise: bool) -> Any:  # noqa: ANN401 - untyped module
    """What the product reads: OpenVINO folds these nodes into it."""
    if precision == "fp32":
        return node
    if precision == "bf16":
        return ops.convert(node, openvino.Type.f32)
    if quantise:
        return _quantised(node, 256)
    scale = ops.constant(np.float32(LIMIT / 127))
    return ops.multiply(ops.convert(node, openvino.Type.f32), scale)


def _quantised(node: Any, levels: int) -> Any:  # noqa: ANN401 - untyped module
    """Symmetric: 255 levels for weights, 256 for activations, as NNCF has it."""
    high = LIMIT if levels == 255 else LIMIT * 127 / 128
    bounds = [ops.constant(np.float32(bound)) for bound in (-LIMIT, high, -LIMIT, high)]
    return ops.fake_quantize(node, *bounds, levels)


def _filled(dims: tuple[int, ...], kind: Precision, rng: np.random.Generator) -> openvino.Tensor:
    values: NDArray[np.float32] = rng.standard_normal(dims, np.float32)
    if kind == "fp32":
        return openvino.Tensor(values)
    if kind == "int8":
        return openvino.Tensor((values * 127 / LIMIT).clip(-127, 127).astype(np.int8))
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)  # bf16 is float32's upper half
    return openvino.Tensor(upper, openvino.Shape(dims), openvino.Type.bf16)


def _check_type(compiled: Any, shape: Product, precision: Precision) -> None:  # noqa: ANN401 - untyped module
    found = [
        information["runtimePrecision"].value
        for information in (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
        if information["layerType"].value in ("FullyConnected", "MatMul")
    ]
    if len(found) != 1 or found[0] not in COMPUTED_IN[precision]:
        raise SetupError(f"OpenVINO computes {shape.name} in {' and '.join(found) or 'nothing'} here, not {precision}")
