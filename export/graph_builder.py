"""A thin notation for ONNX graphs: every node has one output, and the output has the node's name.

Names are those of the part of the network ("block.3.attention.scores"), so a profile or a range
report can be read without a map.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 20
"""LayerNormalization (17) and Gelu (20) are single nodes; all engines here read it."""

IR_VERSION = 10

Dims = tuple[int | str, ...]


class GraphBuilder:
    """Collects nodes and constants in the order in which they are computed."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self.half: set[str] = set()
        """Nodes that a graph of 16-bit types may compute in FP16; in FP32 they change nothing."""

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Store a value; returns its name."""
        if name in self._constants:
            raise ValueError(f"constant {name} is there already")
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def has_constant(self, name: str) -> bool:
        """Whether a value of that name is stored."""
        return name in self._constants

    def integers(self, *values: int) -> str:
        """A 1-d INT64 constant, stored once for equal values."""
        name = f"integers.{'_'.join(map(str, values))}"
        if name not in self._constants:
            self.constant(name, np.array(values, np.int64))
        return name

    def node(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        """Append a node; returns the name of its output, which is ``name``."""
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def half_node(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        """Append a node that FP16 is good enough for."""
        self.half.add(name)
        return self.node(op, name, *inputs, **attributes)

    def model(
        self, name: str, inputs: dict[str, tuple[int, Dims]], outputs: dict[str, tuple[int, Dims]]
    ) -> onnx.ModelProto:
        """The finished model.

        Args:
            name: of the graph.
            inputs: TensorProto type and dims by name; a dim that is a word is dynamic.
            outputs: likewise.
        """
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(key, *value) for key, value in inputs.items()],
            [helper.make_tensor_value_info(key, *value) for key, value in outputs.items()],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="lnclip")
