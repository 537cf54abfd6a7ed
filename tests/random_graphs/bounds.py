"""How far an element may be from ONNX Runtime's: rounding of each op, carried through the graph.

The QDQ model is run by ONNX Runtime once more, with a second value beside each: an upper bound of
the difference that TFLite's roundings so far explain.  Linear ops carry it through their absolute
weights, others by their Lipschitz constant; each integer op adds its own rounding, which
is what the issue allows: one step of its output, or its row in the table of 16-bit functions.  So
the bound is sound: an element beyond it is an error, however the roundings fell.  Where TFLite's
own value is given out, its readers are computed from that value and the bound starts anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from random_graphs.drawing import Array
from random_graphs.encodings import Encoding, Quantized

__all__ = ["FLOAT", "bound_model"]

# Of float ops, as a share of the tensor's maximum.
FLOAT = 1e-5
# Equal integers, dequantized: kernels may subtract two float32 products of up to 255 steps.
EXACT = 255 * 2.0**-23
MOVES = frozenset(
    [
        *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast"),
        *("Slice", "Split", "Concat", "DepthToSpace", "SpaceToDepth"),
        *("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"),
    ]
)
# As many steps as a table may be off, and one more where its end saturates.
FIXED = {
    "Sigmoid": {"8": (2.0**-8, 2), "16": (2.0**-15, 8)},
    "Tanh": {"8": (2.0**-7, 2), "16": (2.0**-15, 14)},
}
LIPSCHITZ = {"Sigmoid": 0.25, "Tanh": 1.0, "HardSwish": 1.5, "Relu": 1.0, "Clip": 1.0}
# Ops whose kernel works on one grid, so that what it makes is brought to another after it.
SAME = frozenset(["AveragePool", "Resize"])
ONE_INPUT_LINEAR = frozenset(
    ["AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Resize"]
)


@dataclass(frozen=True)
class Origin:
    """What a float value comes from: ``grid`` is where it lies on exactly, ``extra`` steps that
    a kernel's own grid adds, ``bias`` the step to which a bias is rounded.
    """

    grid: Encoding | None = None
    extra: float = 0.0
    made_on: Encoding | None = None
    bias: float = 0.0


def bound_model(quantized: Quantized, known: Mapping[str, Array]) -> onnx.ModelProto:
    """Return the model whose outputs are, for each output, ``NAME__reference`` and
    ``NAME__limit``.

    It takes the inputs of the QDQ model, and ``NAME__known`` for each dequantized output that
    is ``known``.
    """
    return _Bounds(quantized, known).run()


class _Bounds:
    def __init__(self, quantized: Quantized, known: Mapping[str, Array]) -> None:
        self.quantized, self.known = quantized, known
        self.model = quantized.model
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.new: dict[str, Array] = {}
        # The bound of each float value by name; absent: exact.
        self.error: dict[str, str] = {}
        self.origin: dict[str, Origin] = {}
        self.weights: dict[str, tuple[Array, Array]] = {}
        self.references: dict[str, tuple[str, str]] = {}

    def run(self) -> onnx.ModelProto:
        for value in self.model.graph.input:
            self.origin[value.name] = Origin(self.quantized.inputs[value.name])
        for node in self.model.graph.node:
            if node.op_type == "QuantizeLinear":
                self._quantizer(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantizer(node)
            else:
                self._op(node)
        return self._model()

    # Q and DQ

    def _quantizer(self, node: onnx.NodeProto) -> None:
        self.nodes.append(self._given(node))
        if node.input[0] in self.constants:
            return
        source, result = node.input[0], node.output[0]
        encoding, origin = self.quantized.encodings[result], self.origin.get(source, Origin())
        low, high = (self.const(np.float32(end)) for end in encoding.limits)
        reference = self.emit("Clip", self._name(source), low, high)
        step = float(np.float32(encoding.scale))
        terms = [self.error[source]] if source in self.error else []
        if origin.grid != encoding:
            added = origin.extra + 1.5 * step + min(origin.bias, step) / 2
            if origin.made_on == encoding:
                added = max(origin.extra, 1.5 * step)
            terms += [self.const(np.float32(added)), self._share(source)]
        limit = self._sum(terms) or self.const(np.float32(EXACT * step))
        self.references[result] = (reference, limit)

    def _dequantizer(self, node: onnx.NodeProto) -> None:
        self.nodes.append(self._given(node))
        source, result = node.input[0], node.output[0]
        if source not in self.references:
            self._constant(node)
            return
        self.origin[result] = Origin(self.quantized.encodings[source])
        reference, limit = self.references[source]
        self.references[result] = reference, limit
        if result not in self.known:
            rounding = self.emit("Abs", self.emit("Sub", result, reference))
            self.error[result] = self.emit("Add", limit, rounding)

    def _constant(self, node: onnx.NodeProto) -> None:
        """Note the grid of a constant operand: exact in both."""
        encoding = self.quantized.encodings.get(node.input[0])
        self.origin[node.output[0]] = Origin(encoding)

    # Ops

    def _op(self, node: onnx.NodeProto) -> None:
        self.nodes.append(self._given(node))
        bounds = self._carried(node)
        origin = self._origin(node)
        for index, name in enumerate(node.output):
            self.origin[name] = origin
            if node.op_type in MOVES:
                total = bounds[index] if bounds else None
            else:
                total = self._sum([*bounds[index : index + 1], self._share(name)])
            if total:
                self.error[name] = self._broadcast(node, total) if len(node.output) == 1 else total
            reads = self.error.get(name) or self.const(np.float32(1e-12))
            self.references[name] = (name, reads)

    def _origin(self, node: onnx.NodeProto) -> Origin:
        source = self.origin.get(node.input[0], Origin())
        grids = {self.origin.get(n, Origin()).grid for n in node.input if n in self.origin}
        if node.op_type in MOVES:
            return source if len(grids) == 1 else Origin()
        if node.op_type in ("Relu", "Clip"):
            # Bounds come onto the grid, and whatever was made on another grid stays so.
            return Origin(None, source.extra, None, source.bias)
        if source.grid is None:
            return Origin()
        if node.op_type in SAME:
            return Origin(None, 1.5 * source.grid.scale, source.grid)
        if node.op_type in FIXED or node.op_type == "Softmax":
            return self._fixed(node, source.grid)
        return Origin(None, 0.0, None, self._bias_step(node, source.grid))

    def _fixed(self, node: onnx.NodeProto, grid: Encoding) -> Origin:
        wide = "16" in grid.dtype
        if node.op_type == "Softmax":
            length = 32 if wide else 1
            step, off = (2.0**-15, 2 * length + 1) if wide else (2.0**-8, 2)
        else:
            step, off = FIXED[node.op_type]["16" if wide else "8"]
        zero = 0 if wide or node.op_type == "Tanh" else -128
        shift = {"uint8": 128, "uint16": 32768}.get(grid.dtype, 0)
        return Origin(None, step * off, Encoding(step, zero + shift, grid.dtype))

    def _bias_step(self, node: onnx.NodeProto, grid: Encoding) -> float:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return 0.0
        scale = self.constants.get(f"{node.input[1].removesuffix('_dq')}_scale")
        return 0.0 if scale is None else grid.scale * float(scale.max())

    # How errors go through an op

    def _carried(self, node: onnx.NodeProto) -> list[str]:
        """Return the bounds of a node's outputs that its inputs' bounds give; none: exact."""
        found = [self.error.get(name) for name in node.input]
        if not any(found):
            return []
        op = node.op_type
        if op in ("Mul", "MatMul", "Conv", "ConvTranspose", "Gemm"):
            return [self._product(node)]
        errors = [error for error in found if error]
        if op in ("Add", "Sub"):
            return [self._broadcast(node, self._sum(errors) or "")]
        if op in ("Max", "Min"):
            return [self._broadcast(node, self.emit("Max", *errors))]
        if op == "Concat":
            return [self._again(node, [e or self._zeros(n) for e, n in self._pairs(node)])]
        return self._of_one(node, errors[0])

    def _of_one(self, node: onnx.NodeProto, error: str) -> list[str]:
        op = node.op_type
        if op in MOVES or op in ONE_INPUT_LINEAR or op == "Pad":
            return self._through(node, error)
        return [self._scaled(node, error)]

    def _pairs(self, node: onnx.NodeProto) -> list[tuple[str | None, str]]:
        return [(self.error.get(name), name) for name in node.input]

    def _broadcast(self, node: onnx.NodeProto, error: str) -> str:
        zero = self.emit("Mul", self.const(np.float32(0)), node.output[0])
        return self.emit("Add", error, self.emit("Abs", zero))

    def _product(self, node: onnx.NodeProto) -> str:
        (a, b), (x, y) = [self.error.get(n) for n in node.input[:2]], node.input[:2]
        terms = []
        if a:
            terms.append(self._again(node, [a, self.emit("Abs", self._name(y))]))
        if b:
            terms.append(self._again(node, [self.emit("Abs", self._name(x)), b]))
        if a and b:
            terms.append(self._again(node, [a, b]))
        return self._sum(terms) or ""

    def _scaled(self, node: onnx.NodeProto, error: str) -> str:
        """Multiply by the largest slope of a function of one value."""
        op, attributes = node.op_type, _attributes(node)
        if op == "Softmax":
            axis = self.const(np.asarray([attributes.get("axis", -1)], np.int64))
            if self.opset >= 18:
                largest = self.emit("ReduceMax", error, axis, keepdims=1)
            else:
                largest = self.emit("ReduceMax", error, axes=[attributes.get("axis", -1)])
            return self._broadcast(node, self._times(largest, 0.5))
        if op == "PRelu":
            slope = self.emit("Abs", self._name(node.input[1]))
            return self.emit("Mul", error, self.emit("Max", slope, self.const(np.float32(1))))
        if op == "Div":
            return self.emit("Div", error, self.emit("Abs", self._name(node.input[1])))
        if op == "BatchNormalization":
            scale, variance = (self.constants[node.input[i]] for i in (1, 4))
            factor = np.abs(scale) / np.sqrt(variance + 1e-5)
            shape = (-1, *(1,) * (self._rank(node) - 2))
            return self.emit("Mul", error, self.const(factor.reshape(shape).astype(np.float32)))
        slopes = {
            "LeakyRelu": max(1.0, attributes.get("alpha", 0.01)),
            "Elu": max(1.0, attributes.get("alpha", 1.0)),
            "HardSigmoid": attributes.get("alpha", 0.2),
        }
        return self._times(error, slopes.get(op) or LIPSCHITZ[op])

    def _rank(self, node: onnx.NodeProto) -> int:
        shapes = {v.name: v for v in self._inferred().graph.value_info}
        shapes |= {v.name: v for v in self._inferred().graph.output}
        return len(shapes[node.output[0]].type.tensor_type.shape.dim)

    def _inferred(self) -> onnx.ModelProto:
        if not hasattr(self, "_shapes"):
            self._shapes = onnx.shape_inference.infer_shapes(self.model)
        return self._shapes

    def _through(self, node: onnx.NodeProto, error: str) -> list[str]:
        """Send the bound the way of the values."""
        if node.op_type == "ReduceMin":
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.op_type = "ReduceMax"
            return [self._again(copy, [error, *node.input[1:]])]
        if node.op_type == "Pad":
            return [self._again(node, [error, node.input[1]])]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[0], copy.name = error, ""
        del copy.output[:]
        copy.output.extend(f"{name}__carried" for name in node.output)
        self.nodes.append(copy)
        return list(copy.output)

    def _again(self, node: onnx.NodeProto, inputs: list[str]) -> str:
        """Return the output of the same op on other inputs."""
        copy = helper.make_node(node.op_type, inputs, [f"t{len(self.nodes)}"])
        copy.attribute.extend(node.attribute)
        self.nodes.append(copy)
        return copy.output[0]

    # Small steps

    @property
    def opset(self) -> int:
        return self.model.opset_import[0].version

    def emit(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def const(self, array: Array) -> str:
        name = f"k{len(self.new)}"
        self.new[name] = np.asarray(array)
        return name

    def _times(self, name: str, factor: float) -> str:
        return self.emit("Mul", name, self.const(np.float32(factor)))

    def _share(self, name: str) -> str:
        """Return what a float op may be off: a share of the tensor's maximum."""
        magnitude = self.emit("Abs", self._name(name))
        flat = self.emit("Reshape", magnitude, self.const(np.asarray([-1], np.int64)))
        top = self.emit("TopK", flat, self.const(np.asarray([1], np.int64)))
        self.nodes[-1].output.append(f"{top}_where")
        return self._times(top, FLOAT)

    def _zeros(self, name: str) -> str:
        return self._times(self._name(name), 0.0)

    def _sum(self, terms: list[str]) -> str | None:
        total = None
        for term in terms:
            total = term if total is None else self.emit("Add", total, term)
        return total

    def _name(self, name: str) -> str:
        return f"{name}__known" if name in self.known else name

    def _given(self, node: onnx.NodeProto) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            copy.input[index] = self._name(name)
        return copy

    def _model(self) -> onnx.ModelProto:
        made = []
        for output in self.quantized.outputs:
            name = output.name
            reference, limit = self.references[name]
            # Both in full shape, and kept apart from what others read.
            spread = self.emit("Mul", self.const(np.float32(0)), reference)
            for kind, value in (("reference", reference), ("limit", limit)):
                self.nodes.append(helper.make_node("Add", [value, spread], [f"{name}__{kind}"]))
                made.append(f"{name}__{kind}")
        taken = list(self.model.graph.input)
        for name, array in self.known.items():
            taken.append(
                helper.make_tensor_value_info(f"{name}__known", TensorProto.FLOAT, array.shape)
            )
        graph = helper.make_graph(
            self.nodes,
            "bounds",
            taken,
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in made],
            [
                *self.model.graph.initializer,
                *(numpy_helper.from_array(a, n) for n, a in self.new.items()),
            ],
        )
        model = helper.make_model(graph, opset_imports=self.model.opset_import)
        model.ir_version = 10
        return model


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
