"""``--truncate_64bit_io``: inputs and outputs of 64 bits get 32, with a Cast inside."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog
from qdq.target.interface.edges import (
    add_after_input,
    add_before_output,
    graph_inputs,
    is_passed_through,
)

__all__ = ["TruncateIo"]

# Indices and counts fit int32, which is what devices have; uint32 is no dtype of the interface.
_NARROW = {
    ir.DataType.INT64: ir.DataType.INT32,
    ir.DataType.UINT64: ir.DataType.INT32,
    ir.DataType.DOUBLE: ir.DataType.FLOAT,
}
_INTEGERS = frozenset(
    {
        ir.DataType.BOOL,
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.INT16,
        ir.DataType.UINT16,
        ir.DataType.INT32,
    }
)
# A Cast from these to the wide type loses nothing, so the narrow type can be made from them.
_EXACT_SOURCES = {
    ir.DataType.INT64: _INTEGERS,
    ir.DataType.UINT64: _INTEGERS,
    ir.DataType.DOUBLE: frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16}),
}


class TruncateIo(GraphPass):
    """Narrow int64 and uint64 to int32, and float64 to float32, at the edges of the graph."""

    name = "truncate_64bit_io"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Narrow each wide input and output."""
        modified = False
        for value in graph_inputs(model.graph):
            if value.dtype in _NARROW:
                modified |= _narrow_input(model.graph, value, log)
        for index, value in enumerate(tuple(model.graph.outputs)):
            if value.dtype in _NARROW:
                modified |= _narrow_output(model.graph, index, log)
        return modified


def _narrow_input(graph: ir.Graph, value: ir.Value, log: NoteLog) -> bool:
    wide = value.dtype
    assert wide is not None
    if value.is_graph_output():
        log.remark(f"input '{value.name}' stays {_name(wide)}: it is an output as well")
        return False
    narrow = _NARROW[wide]
    # A Cast that reads the input can read the narrow one: the values are the same.
    direct = [(node, i) for node, i in value.uses() if node.op_type == "Cast" and not node.domain]
    if len(direct) < len(tuple(value.uses())):
        attributes = [ir.AttrInt64("to", int(wide))]
        add_after_input(
            graph, value, "Cast", name=f"{value.name}_{_name(wide)}", attributes=attributes
        )
        for node, index in direct:
            node.replace_input_with(index, value)
    value.type = ir.TensorType(narrow)
    log.remark(f"input '{value.name}' takes {_name(narrow)} now", applied=True)
    return True


def _narrow_output(graph: ir.Graph, index: int, log: NoteLog) -> bool:
    value = graph.outputs[index]
    wide = value.dtype
    assert wide is not None
    if is_passed_through(value):
        log.remark(f"output '{value.name}' stays {_name(wide)}: it is an input or a constant")
        return False
    narrow = _NARROW[wide]
    source = _exact_source(value)
    to = [ir.AttrInt64("to", int(narrow))]
    output = add_before_output(graph, index, "Cast", suffix=_name(wide), attributes=to)
    output.type = ir.TensorType(narrow)
    if source is not None:
        cast = output.producer()
        assert cast is not None
        cast.replace_input_with(0, source)
    log.remark(f"output '{output.name}' gives {_name(narrow)} now", applied=True)
    return True


def _exact_source(value: ir.Value) -> ir.Value | None:
    producer = value.producer()
    if producer is None or producer.op_type != "Cast" or producer.domain:
        return None
    source = producer.inputs[0]
    wide = value.dtype
    if source is None or wide is None or source.dtype not in _EXACT_SOURCES[wide]:
        return None
    return source


def _name(dtype: ir.DataType) -> str:
    return "float64" if dtype == ir.DataType.DOUBLE else dtype.numpy().name
