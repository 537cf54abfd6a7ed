"""Does the graph of a TFLite file make sense?  What LiteRT does not ask before it runs.

The offsets are known to lie inside the file; here are the indexes, sizes and the order of the ops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qdq.base.errors import ModelCorruptError, ModelInvalidError, UnsupportedError
from qdq.runtime.litert.flatbuffer import Data, Table, tflite_schema

__all__ = ["check_sound", "referenced_subgraphs"]

_VERSION = 3
# Shapes, operands and tensors together; shared vectors would let a small file have billions.  A
# tensor and an op are as much work as several numbers.
_MOST_NUMBERS = 1_000_000
_OF_A_PART = 8
_MOST_DIMS = 32
_LARGEST_TENSOR = 1 << 40
# Bits of an element; strings, resources and variants have no fixed size.
_BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "INT32": 32, "UINT8": 8, "INT64": 64, "BOOL": 8, "INT16": 16,
    "COMPLEX64": 64, "INT8": 8, "FLOAT64": 64, "COMPLEX128": 128, "UINT64": 64, "UINT32": 32,
    "UINT16": 16, "INT4": 4, "BFLOAT16": 16, "INT2": 2, "UINT4": 4, "FLOAT8_E4M3FN": 8,
    "FLOAT8_E5M2": 8,
}  # fmt: skip
_UNIONS = (
    ("builtin_options_type", "builtin_options", "BuiltinOptions"),
    ("builtin_options2_type", "builtin_options2", "BuiltinOptions2"),
)


def check_sound(root: Table, data: Data) -> None:
    """Raise ModelCorruptError or ModelInvalidError for the first thing that cannot be.

    Raises UnsupportedError where weights are in other files: a model is not to name files to read.
    """
    version = root.number("version", "I")
    if version != _VERSION:
        raise UnsupportedError(
            f"The TFLite file has the version {version}, and {_VERSION} is the one that is read",
            remedy="Convert the model with a current converter",
        )
    if root.span("external_buffers")[1] or root.span("external_buffer_groups")[1]:
        raise UnsupportedError(
            "The TFLite file has weights in other files", remedy="Give one with its weights inside"
        )
    buffers = _buffers(root, len(data))
    codes = _codes(root)
    graphs = root.tables("subgraphs", "SubGraph")
    if not graphs:
        raise _invalid("it has no graph")
    budget = _Budget()
    calls = [_graph(graph, buffers, codes, len(graphs), budget) for graph in graphs]
    _check_calls(calls)
    _check_signatures(root, graphs)
    for entry in root.tables("metadata", "Metadata"):
        _index(entry.number("buffer", "I"), len(buffers), "the buffer of a metadata entry")


class _Budget:
    """Counts what is read."""

    def __init__(self) -> None:
        self._left = _MOST_NUMBERS

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ModelCorruptError(
                f"The TFLite file tells more than {_MOST_NUMBERS:,} dimensions and operands",
                remedy="Copy or convert the model again",
            )

    def numbers(self, table: Table, name: str) -> tuple[int, ...]:
        self.take(1 + table.span(name)[1])
        return table.numbers(name)


def _buffers(root: Table, end: int) -> list[int]:
    sizes = []
    for buffer in root.tables("buffers", "Buffer"):
        offset, size = buffer.number("offset", "Q"), buffer.number("size", "Q")
        if offset > 1 and offset + size > end:
            raise _invalid(f"a buffer lies at {offset} to {offset + size} of {end} bytes")
        sizes.append(buffer.span("data")[1] or (size if offset > 1 else 0))
    if not sizes:
        raise _invalid("it has no buffers")
    return sizes


def _codes(root: Table) -> list[str]:
    names = tflite_schema().enums["BuiltinOperator"]
    found = []
    for code in root.tables("operator_codes", "OperatorCode"):
        number = max(code.number("deprecated_builtin_code", "b"), code.number("builtin_code"))
        if not 0 <= number < len(names):
            raise UnsupportedError(
                f"The TFLite file has an op of the unknown number {number}",
                remedy="Use a converter of the version of LiteRT that is installed",
            )
        found.append(names[number])
    return found


def _graph(
    graph: Table, buffers: Sequence[int], codes: Sequence[str], graphs: int, budget: _Budget
) -> set[int]:
    """Check one subgraph; return the subgraphs that its ops call."""
    budget.take(_OF_A_PART * (graph.span("tensors")[1] + graph.span("operators")[1]))
    tensors = graph.tables("tensors", "Tensor")
    constants = {i for i, it in enumerate(tensors) if _tensor(it, buffers, budget)}
    ready = constants | {i for i, it in enumerate(tensors) if it.number("is_variable", "b")}
    for side in ("inputs", "outputs"):
        for index in budget.numbers(graph, side):
            _index(index, len(tensors), f"one of the {side}")
            if side == "inputs":
                ready.add(index)
    calls: set[int] = set()
    for number, op in enumerate(graph.tables("operators", "Operator")):
        name = f"op {number} ({codes[_index(op.number('opcode_index', 'I'), len(codes), 'an op')]})"
        _operands(op, tensors, ready, constants, budget=budget, name=name)
        for called in referenced_subgraphs(op):
            calls.add(_index(called, graphs, f"the subgraph of {name}"))
    for index in graph.numbers("outputs"):
        if index not in ready:
            raise _invalid(f"nothing computes the output {_told(tensors, index)}")
    return calls


def _operands(
    op: Table,
    tensors: Sequence[Table],
    ready: set[int],
    constants: set[int],
    *,
    budget: _Budget,
    name: str,
) -> None:
    for index in budget.numbers(op, "inputs"):
        if index == -1:
            continue
        _index(index, len(tensors), f"an input of {name}")
        if index not in ready:
            raise _invalid(f"{name} reads {_told(tensors, index)} before it is computed")
    for index in budget.numbers(op, "intermediates"):
        _index(index, len(tensors), f"an intermediate of {name}")
    for index in budget.numbers(op, "outputs"):
        _index(index, len(tensors), f"an output of {name}")
        # Its memory is the file itself, mapped to be read only.
        if index in constants:
            raise _invalid(f"{name} writes the constant {_told(tensors, index)}")
        ready.add(index)


def _tensor(tensor: Table, buffers: Sequence[int], budget: _Budget) -> bool:
    """Check one tensor; return whether it is a constant."""
    names = tflite_schema().enums["TensorType"]
    dtype = names[_index(tensor.number("type", "b"), len(names), "the type of a tensor")]
    rank = tensor.span("shape")[1]
    if rank > _MOST_DIMS or tensor.span("shape_signature")[1] not in (0, rank):
        raise _invalid(f"the tensor '{_name(tensor)}' has {rank} dimensions")
    shape = budget.numbers(tensor, "shape")
    if any(dim < 0 for dim in shape) or any(dim < -1 for dim in tensor.numbers("shape_signature")):
        raise _invalid(f"the tensor '{_name(tensor)}' has a negative dimension: {list(shape)}")
    size = buffers[_index(tensor.number("buffer", "I"), len(buffers), "the buffer of a tensor")]
    if dtype not in _BITS:
        return size > 0
    needed = (math.prod(shape) * _BITS[dtype] + 7) // 8
    if needed > _LARGEST_TENSOR:
        raise _invalid(f"the tensor '{_name(tensor)}' has {needed:,} bytes")
    if size and size != needed and not tensor.has("sparsity"):
        raise _invalid(
            f"the tensor '{_name(tensor)}' needs {needed:,} bytes, and its data has {size:,}"
        )
    _check_encoding(tensor, shape)
    return size > 0


def _check_encoding(tensor: Table, shape: Sequence[int]) -> None:
    found = tensor.table("quantization", "QuantizationParameters")
    # Encodings of blocks have tensors of their own.
    if found is None or found.has("details"):
        return
    scales, zero_points = found.span("scale")[1], found.span("zero_point")[1]
    axis = found.number("quantized_dimension")
    per_channel = scales > 1
    if per_channel and not (0 <= axis < len(shape) and shape[axis] == scales):
        raise _invalid(
            f"the tensor '{_name(tensor)}' of the shape {list(shape)} has {scales} scales on the "
            f"axis {axis}"
        )
    if zero_points not in (0, 1, scales):
        raise _invalid(
            f"the tensor '{_name(tensor)}' has {scales} scales and {zero_points} zero points"
        )


def referenced_subgraphs(op: Table) -> Iterator[int]:
    """Yield the subgraphs that an op calls: branches, bodies, conditions, decompositions."""
    schema = tflite_schema()
    for type_name, name, union in _UNIONS:
        member = op.number(type_name, "B")
        kind = schema.unions[union][member] if member < len(schema.unions[union]) else "NONE"
        options = op.table(name, kind) if kind != "NONE" else None
        if options is None:
            continue
        for field in schema.tables[kind]:
            if field is None:
                continue
            if field[0].endswith("_subgraph_index") or (kind, field[0]) == (
                "CallOptions",
                "subgraph",
            ):
                yield options.number(field[0])
            elif field[0] == "branch_subgraph_indices":
                yield from options.numbers(field[0], most=_MOST_DIMS)


def _check_calls(calls: Sequence[set[int]]) -> None:
    """Raise ModelInvalidError where a subgraph calls itself, at whatever distance."""
    state = dict.fromkeys(range(len(calls)), 0)
    for start in state:
        stack = [(start, iter(sorted(calls[start])))] if not state[start] else []
        state[start] = state[start] or 1
        while stack:
            graph, rest = stack[-1]
            called = next(rest, None)
            if called is None:
                state[graph] = 2
                stack.pop()
            elif state[called] == 1:
                raise _invalid(f"the subgraph {called} calls itself")
            elif state[called] == 0:
                state[called] = 1
                stack.append((called, iter(sorted(calls[called]))))


def _check_signatures(root: Table, graphs: Sequence[Table]) -> None:
    for signature in root.tables("signature_defs", "SignatureDef"):
        place = signature.number("subgraph_index", "I")
        graph = graphs[_index(place, len(graphs), "the subgraph of a signature")]
        count = graph.span("tensors")[1]
        for side in ("inputs", "outputs"):
            for entry in signature.tables(side, "TensorMap"):
                _index(entry.number("tensor_index", "I"), count, f"the {side} of a signature")


def _index(index: int, count: int, what: str) -> int:
    if not 0 <= index < count:
        raise _invalid(f"{what} has the index {index}, and there are {count}")
    return index


def _told(tensors: Sequence[Table], index: int) -> str:
    return f"the tensor '{_name(tensors[index])}' ({index})"


def _name(tensor: Table) -> str:
    return tensor.text("name")[:200]


def _invalid(what: str) -> ModelInvalidError:
    return ModelInvalidError(
        f"The TFLite model contradicts itself: {what}", remedy="Convert the model again"
    )
