"""A float graph while it is drawn: values with shapes, constants by what they are for, nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

LARGEST = 1200


class Role(StrEnum):
    """What a constant is for: weights, biases and operands are quantized, settings are not."""

    WEIGHT = "weight"
    BIAS = "bias"
    OPERAND = "operand"
    SETTING = "setting"


@dataclass(frozen=True)
class Constant:
    """An initializer; ``axis`` is that of a weight's output channels."""

    array: Array
    role: Role
    axis: int = 0


@dataclass
class Drawing:
    """``shapes`` holds the inputs and every value that a node makes, in order."""

    draw: st.DrawFn
    opset: int
    rng: np.random.Generator
    inputs: dict[str, Shape] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    # What is drawn

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def numbers(self, count: int, low: int, high: int) -> list[int]:
        return [self.number(low, high) for _ in range(count)]

    def one_of(self, items: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(items)))

    def chance(self, percent: int) -> bool:
        return self.number(0, 99) >= 100 - percent

    # What it is made of

    def input(self, shape: Shape) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.shapes[name] = shape
        return name

    def constant(self, array: Array, role: Role = Role.SETTING, axis: int = 0) -> str:
        name = f"{role[0]}{len(self.constants)}"
        self.constants[name] = Constant(np.asarray(array), role, axis)
        return name

    def ints(self, items: Sequence[int]) -> str:
        return self.constant(np.asarray(items, np.int64))

    def normal(self, shape: Sequence[int], role: Role, *, axis: int = 0, scale: float = 1) -> str:
        values = self.rng.standard_normal(shape) * scale
        return self.constant(values.astype(np.float32), role, axis)

    def add(
        self, op_type: str, inputs: Sequence[str], *, outputs: int = 1, **attributes: Any
    ) -> list[str]:
        """Append a node; its outputs' shapes are ONNX's own."""
        names = [f"v{len(self.shapes) + index}" for index in range(outputs)]
        node = helper.make_node(op_type, inputs, names, f"{op_type}_{names[0]}", **attributes)
        for name, shape in zip(names, self._inferred(node), strict=True):
            if math.prod(shape) > LARGEST or min(shape, default=1) < 1:
                raise UndrawableError
            self.shapes[name] = shape
        self.nodes.append(node)
        return names

    def _inferred(self, node: onnx.NodeProto) -> list[Shape]:
        read = [name for name in node.input if name]
        tensors = {
            name: numpy_helper.from_array(self.constants[name].array, name)
            for name in read
            if name in self.constants
        }
        types = {
            name: helper.make_tensor_type_proto(tensors[name].data_type, tensors[name].dims)
            if name in tensors
            else helper.make_tensor_type_proto(TensorProto.FLOAT, self.shapes[name])
            for name in read
        }
        schema = onnx.defs.get_schema(node.op_type, self.opset)
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, types, tensors, opset_imports=[helper.make_opsetid("", self.opset)]
            )
        except onnx.shape_inference.InferenceError as error:
            raise UndrawableError from error
        return [
            tuple(d.dim_value for d in found[name].tensor_type.shape.dim) for name in node.output
        ]

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """Return the float model."""
        return assemble(
            self.nodes,
            {name: (TensorProto.FLOAT, shape) for name, shape in self.inputs.items()},
            {name: (TensorProto.FLOAT, self.shapes[name]) for name in outputs},
            {name: constant.array for name, constant in self.constants.items()},
            self.opset,
        )


class UndrawableError(Exception):
    """A node whose operands do not fit, or whose result is empty or larger than need be."""


Ports = dict[str, tuple[int, Shape]]


def assemble(
    nodes: Sequence[onnx.NodeProto],
    inputs: Ports,
    outputs: Ports,
    constants: dict[str, Array],
    opset: int,
) -> onnx.ModelProto:
    """Return a model of these parts, with the constants that are read."""
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info(name, *port) for name, port in inputs.items()],
        [helper.make_tensor_value_info(name, *port) for name, port in outputs.items()],
        [numpy_helper.from_array(a, name) for name, a in constants.items() if name in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return model


@dataclass(frozen=True)
class Op:
    """How to add an op to a drawing behind a value, and on which shapes it works."""

    name: str
    append: Callable[[Drawing, str], None]
    fits: Callable[[Shape], bool]


def on_ranks(*ranks: int) -> Callable[[Shape], bool]:
    """Return a predicate: the shape has one of these ranks."""
    return lambda shape: len(shape) in ranks


def anywhere(shape: Shape) -> bool:
    """Every shape will do."""
    return True
