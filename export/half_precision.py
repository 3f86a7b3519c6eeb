"""The FP16 graph: strongly typed, so that no builder flag decides what is computed in what.

Matrix products, their biases and activations are FP16. The patch convolution, LayerNorm, softmax,
the L2 normalisation and the head are islands of FP32, and so is the residual stream: trained networks
carry channels of some hundreds in it, and an FP16 sum of 300 rounds an addend of 0.1 away. Seen with
a random ViT-B/32, two channels at 300 and -150, emulated: mean |dp| 7e-6, with the stream in FP16 3e-5.
A tensor whose measured range FP16 cannot hold with a margin makes islands of the nodes around it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.report import TensorRange
from export.served_graph import ServedGraph
from lnclip.errors import ParityError

LARGEST = 16384.0
"""What a tensor typed FP16 may hold: a quarter of the largest FP16, for crops that nobody measured."""

ROUNDING = 2.0**-9
"""Error of a weight matrix in FP16, relative to its length, beyond which it stays FP32. Rounding alone
is some 2^-12; a matrix of subnormal numbers loses more (a layer scale of 1e-5 folded into it does)."""

HALF, SINGLE = ".fp16", ".fp32"
"""Ends of the names of tensors that were cast."""


def tensors_to_measure(graph: ServedGraph) -> list[str]:
    """Every tensor that could become FP16: what the half nodes read and write, weights aside."""
    constants = {tensor.name for tensor in graph.model.graph.initializer}
    names: dict[str, None] = {}
    for node in graph.model.graph.node:
        if node.name in graph.half:
            names |= dict.fromkeys(name for name in (*node.input, *node.output) if name not in constants)
    return list(names)


def choose_half(graph: ServedGraph, ranges: Mapping[str, TensorRange]) -> frozenset[str]:
    """Nodes to compute in FP16: those whose numbers it holds.

    Raises:
        ParityError: a product of attention would have to be FP32, and TensorRT fuses FP16 attention only.
    """
    unfit = _unfit_weights(graph)
    chosen = set()
    for node in graph.model.graph.node:
        if node.name not in graph.half:
            continue
        tensors = [name for name in (*node.input, *node.output) if name in ranges]
        too_large = [name for name in tensors if not ranges[name].max_abs <= LARGEST]
        if too_large and node.op_type == "MatMul" and set(node.input) <= ranges.keys():
            raise ParityError(f"{_described(too_large[0], ranges)}: attention cannot be FP16, export bf16 or fp32")
        if not too_large and not unfit.intersection(node.input):
            chosen.add(node.name)
    return frozenset(chosen)


def typed_graph(model: onnx.ModelProto, half: frozenset[str]) -> onnx.ModelProto:
    """A graph in which those nodes compute in FP16, with a Cast wherever the type changes."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    graph = typed.graph
    nodes = list(graph.node)
    floats = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    halves: dict[str, onnx.TensorProto] = {}
    cast: dict[str, onnx.NodeProto] = {}
    del graph.node[:]

    def read(name: str, *, as_half: bool) -> str:
        """The tensor in the type that its reader computes in."""
        if name in floats:
            if not as_half:
                return name
            if name not in halves:
                value = numpy_helper.to_array(floats[name]).astype(np.float16)
                halves[name] = numpy_helper.from_array(value, name + HALF)
            return name + HALF
        if (name in half) == as_half or name not in produced:
            return name
        target = name + (HALF if as_half else SINGLE)
        if target not in cast:
            to = TensorProto.FLOAT16 if as_half else TensorProto.FLOAT
            cast[target] = helper.make_node("Cast", [name], [target], name=target, to=to)
            graph.node.append(cast[target])
        return target

    produced = {name for node in nodes for name in node.output}
    for node in nodes:
        inputs = [read(name, as_half=node.name in half) for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
        graph.node.append(node)
    read_names = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read_names]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *halves.values()])
    return typed


def check_ranges(typed: onnx.ModelProto, ranges: Mapping[str, TensorRange]) -> dict[str, TensorRange]:
    """The measured range of every tensor that the written graph types FP16.

    Asks the graph, not the choice it was made by.

    Raises:
        ParityError: one was not measured, or may overflow.
    """
    found = {}
    for name in (tensor.removesuffix(HALF) for tensor in _half_tensors(typed)):
        if name not in ranges:
            raise ParityError(f"{name} is FP16 and its range was not measured")
        if not ranges[name].max_abs <= LARGEST:
            raise ParityError(f"{_described(name, ranges)} and is FP16")
        found[name] = ranges[name]
    return found


def emulated_graph(typed: onnx.ModelProto) -> onnx.ModelProto:
    """The same in FP32, every FP16 tensor rounded to FP16: what a GPU computes, overflow included.

    Engines on a CPU take the casts out of an FP16 graph and compute it in FP32 throughout. Here each
    result is cast to FP16 and back, so that products are summed in FP32 and rounded, as tensor cores do.
    """
    emulated = onnx.ModelProto()
    emulated.CopyFrom(typed)
    graph = emulated.graph
    halves = _half_tensors(typed)
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        [name] = node.output
        if name not in halves:
            continue
        exact, rounded = name + ".exact", name + ".rounded"
        if node.op_type == "Cast":
            graph.node[-1].op_type = "Identity"
            del graph.node[-1].attribute[:]
        graph.node[-1].output[0] = exact
        graph.node.append(helper.make_node("Cast", [exact], [rounded], name=rounded, to=TensorProto.FLOAT16))
        graph.node.append(helper.make_node("Cast", [rounded], [name], name=name + ".back", to=TensorProto.FLOAT))
    return emulated


def _half_tensors(typed: onnx.ModelProto) -> list[str]:
    """Every tensor between the nodes that is FP16, asked of ONNX's own type inference."""
    values = onnx.shape_inference.infer_shapes(typed, strict_mode=True).graph.value_info
    return [value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT16]


def _unfit_weights(graph: ServedGraph) -> set[str]:
    """Constants of half nodes that FP16 cannot hold: too large, or mostly subnormal."""
    read = {name for node in graph.model.graph.node if node.name in graph.half for name in node.input}
    unfit = set()
    for tensor in graph.model.graph.initializer:
        if tensor.name not in read or tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        if not np.abs(value).max() <= LARGEST:
            unfit.add(tensor.name)
        elif value.ndim > 1:
            error = np.linalg.norm(value - value.astype(np.float16).astype(np.float32))
            if error > ROUNDING * np.linalg.norm(value):
                unfit.add(tensor.name)
    return unfit


def _described(name: str, ranges: Mapping[str, TensorRange]) -> str:
    return f"{name} reaches {ranges[name].max_abs:.3g} > {LARGEST:g} (worst crop: {ranges[name].crop})"
