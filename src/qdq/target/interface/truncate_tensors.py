"""``--truncate_64bit_tensors``: int64 inside the graph becomes int32 where the ops allow it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, constant_array, fresh_name, opset_of
from qdq.target.interface.edges import add_before_output, put_first

__all__ = ["NARROWED_OPS", "TruncateTensors"]

_WIDE, _NARROW = ir.DataType.INT64, ir.DataType.INT32
_LIMITS = np.iinfo(np.int32)
# Starts and ends beyond a tensor stop at its end, and no tensor has 2^31 entries on an axis:
# exporters write 2^63 - 1 for "to the end".
_SLICE_BOUNDS = (1, 2)

# Ops whose int32 form the specification has and ONNX Runtime computes; a test runs each of them.
# The others (Unique and OneHot, for instance) have no kernel for every combination.
# fmt: off
NARROWED_OPS = frozenset(
    {
        "Abs", "Add", "ArgMax", "ArgMin", "Cast", "Clip", "Concat", "ConstantOfShape", "CumSum",
        "Div", "Equal", "Expand", "Flatten", "Gather", "GatherElements", "Greater",
        "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero",
        "Pad", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
        "ScatterElements", "ScatterND", "Sign", "Slice", "Split", "Squeeze", "Sub", "Tile", "TopK",
        "Transpose", "Unsqueeze", "Where",
    }
)
# fmt: on


class _Slot(NamedTuple):
    """A place at a node where a tensor goes in or comes out."""

    node: ir.Node
    is_output: bool
    place: int


class TruncateTensors(GraphPass):
    """Turn int64 tensors into int32, one type variable of one node at a time.

    A Cast stands where an op fixes int64 (Shape, the shape of Reshape) or the interface does.  A
    constant that does not fit int32 keeps the tensors that share its type at int64, with a remark.
    """

    name = "truncate_64bit_tensors"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Choose the slots, then change types, attributes, constants and add the Casts."""
        chosen = _choose(model, log)
        if not chosen:
            return False
        _Narrowing(model.graph, chosen).apply()
        log.remark(f"{len(chosen)} inputs and outputs of nodes became int32", applied=True)
        return True


def _choose(model: ir.Model, log: NoteLog) -> set[_Slot]:
    chosen: set[_Slot] = set()
    for node in model.graph:
        if node.domain or node.op_type not in NARROWED_OPS or node.op_type == "Cast":
            continue
        for group in _groups(node, opset_of(model)):
            misfit = next((slot for slot in group if not _fits(slot)), None)
            if misfit is None:
                chosen.update(group)
            else:
                log.remark(
                    f"{node.op_type} '{node.name}' stays int64: the constant "
                    f"'{_value(misfit).name}' does not fit int32"
                )
    _choose_casts(model.graph, chosen)
    return chosen


def _choose_casts(graph: ir.Graph, chosen: set[_Slot]) -> None:
    """A Cast to int64 makes int32 where a reader wants that; what it reads is as it comes."""
    for node in graph:
        if node.op_type == "Cast" and not node.domain and node.outputs[0].dtype == _WIDE:
            uses = node.outputs[0].uses()
            if any(_Slot(use.node, False, use.idx) in chosen for use in uses):
                chosen.add(_Slot(node, True, 0))


def _groups(node: ir.Node, version: int) -> Iterator[list[_Slot]]:
    """Yield the slots of each type variable that are int64 now and may be int32."""
    schema = onnx.defs.get_schema(node.op_type, version, "")
    allowed = {it.type_param_str: set(it.allowed_type_strs) for it in schema.type_constraints}
    groups: dict[str, list[_Slot]] = {}
    for values, formals, is_output in (
        (node.inputs, schema.inputs, False),
        (node.outputs, schema.outputs, True),
    ):
        for index, value in enumerate(values):
            if value is not None and value.dtype == _WIDE:
                # A variadic parameter stands last and is written once.
                kind = formals[min(index, len(formals) - 1)].type_str
                groups.setdefault(kind, []).append(_Slot(node, is_output, index))
    for kind, slots in groups.items():
        if "tensor(int32)" in allowed.get(kind, ()):
            yield slots


def _value(slot: _Slot) -> ir.Value:
    value = slot.node.outputs[slot.place] if slot.is_output else slot.node.inputs[slot.place]
    assert value is not None
    return value


def _fits(slot: _Slot) -> bool:
    if slot.node.op_type == "Slice" and slot.place in _SLICE_BOUNDS and not slot.is_output:
        return True
    array = constant_array(_value(slot))
    if array is None or not array.size:
        return True
    return bool(array.min() >= _LIMITS.min and array.max() <= _LIMITS.max)


class _Narrowing:
    """Carries out the choice; each constant and each Cast is made once."""

    def __init__(self, graph: ir.Graph, chosen: set[_Slot]) -> None:
        self._graph = graph
        self._chosen = chosen
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def apply(self) -> None:
        wide = {v: None for node in self._graph for v in node.inputs if v and v.dtype == _WIDE}
        narrow = [_value(slot) for slot in self._chosen if slot.is_output]
        for slot in self._chosen:
            if slot.is_output:
                _retype(slot.node, slot.place)
        for value in wide:
            self._serve_readers(value)
        outputs = list(self._graph.outputs)
        for value in narrow:
            if value in outputs:
                to = [ir.AttrInt64("to", int(_WIDE))]
                output = add_before_output(
                    self._graph, outputs.index(value), "Cast", suffix="int32", attributes=to
                )
                output.type = ir.TensorType(_WIDE)

    def _serve_readers(self, value: ir.Value) -> None:
        for use in tuple(value.uses()):
            if use.node.op_type == "Cast" and not use.node.domain:
                continue
            wanted = _NARROW if _Slot(use.node, False, use.idx) in self._chosen else _WIDE
            if value.dtype != wanted:
                use.node.replace_input_with(use.idx, self._as(value, wanted))

    def _as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        if (value, dtype) not in self._made:
            self._made[value, dtype] = self._convert(value, dtype)
        return self._made[value, dtype]

    def _convert(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        name = f"{value.name}_{dtype.name.lower()}"
        array = constant_array(value)
        if array is not None:
            narrow = np.clip(array, _LIMITS.min, _LIMITS.max).astype(dtype.numpy())
            return add_initializer(self._graph, name, narrow)
        cast = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(dtype))], name=f"{name}_cast")
        output = cast.outputs[0]
        output.name = fresh_name(self._graph, name)
        output.type, output.shape = ir.TensorType(dtype), value.shape
        producer = value.producer()
        if producer is None:
            put_first(self._graph, cast)
        else:
            self._graph.insert_after(producer, cast)
        return output


def _retype(node: ir.Node, index: int) -> None:
    """Make an output int32, also where an attribute says its type."""
    node.outputs[index].type = ir.TensorType(_NARROW)
    if node.op_type == "Cast":
        node.attributes["to"] = ir.AttrInt64("to", int(_NARROW))
    if node.op_type == "ConstantOfShape":
        array = node.attributes["value"].as_tensor().numpy().astype(np.int32)
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(array))
