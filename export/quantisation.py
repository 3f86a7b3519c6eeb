"""The INT8 graph: matrix products between QuantizeLinear and DequantizeLinear, calibrated on crops.

Symmetric and explicit: OpenVINO runs such a graph in INT8, and TensorRT's parser reads it. The patch
convolution, softmax, LayerNorm, L2 normalisation and head stay FP32.
"""

from __future__ import annotations

import contextlib
import logging
import sys

import nncf
import numpy as np
import onnx
from nncf.quantization.advanced_parameters import (
    AdvancedQuantizationParameters,
    OverflowFix,
)
from numpy.typing import NDArray

from lnclip.contract import CROPS

KEPT = ["patches.conv", "logits.product"]
"""Nodes whose inputs stay FP32, beside the softmax. Attention's products are INT8 where NNCF makes them
so: keeping them FP32 was seen to change nothing (random ViT-B/32, mean |dp| 0.0094 both ways)."""


def quantised_graph(model: onnx.ModelProto, crops_NHWC: NDArray[np.uint8]) -> onnx.ModelProto:
    """Post-training quantisation by NNCF.

    Args:
        model: the FP32 graph.
        crops_NHWC: (N, S, S, 3), over which the tensors' ranges are measured.
    """
    nncf.set_log_level(logging.WARNING)  # it says which nodes it leaves alone, one by one
    # All 8 bits of the weights: half of their range would be spared for processors without VNNI. On one
    # (AVX2), OpenVINO and ONNX Runtime were seen to agree without: mean |dp| 0.0094 and 0.0090.
    advanced = AdvancedQuantizationParameters(overflow_fix=OverflowFix.DISABLE)
    with contextlib.redirect_stdout(sys.stderr):  # its progress bars; stdout is the command's product
        return nncf.quantize(
            model,
            nncf.Dataset(list(crops_NHWC), lambda crop: {CROPS.name: crop[None]}),
            subset_size=len(crops_NHWC),
            model_type=nncf.ModelType.TRANSFORMER,  # smooth quantisation and bias correction
            preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric
            ignored_scope=nncf.IgnoredScope(names=KEPT, types=["Softmax"]),
            advanced_parameters=advanced,
        )


def count_products(quantised: onnx.ModelProto) -> tuple[int, int]:
    """Matrix products between Q/DQ, and all of them."""
    dequantised = {node.output[0] for node in quantised.graph.node if node.op_type == "DequantizeLinear"}
    products = [node for node in quantised.graph.node if node.op_type == "MatMul"]
    return sum(dequantised.issuperset(node.input) for node in products), len(products)
