"""Lower each node and settle the edges: from the target's graph to a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qdq.base.errors import UnsupportedError
from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder
from qdq.target.tflite.ir import Graph, Node, Value
from qdq.target.tflite.layout import Perm
from qdq.target.tflite.lower import LOWERINGS
from qdq.target.tflite.memory import with_copies
from qdq.target.tflite.program import Operator, Program, Tensor

__all__ = ["assemble"]


def assemble(graph: Graph, inputs: Mapping[str, Perm], outputs: Mapping[str, Perm]) -> Program:
    """Return the program; ``inputs`` and ``outputs`` give layouts at the edge other than ONNX's.

    Raises UnsupportedError naming the first node that has no lowering.
    """
    # Where a value has several names, the layout of the last is what its operator shall make.
    edges = {value: _edge(name, value, outputs) for name, value in graph.outputs}
    edges.update({value: _edge(name, value, inputs) for name, value in graph.inputs})
    builder = Builder(edges)
    given = tuple((name, builder.result(value, edges[value])) for name, value in graph.inputs)
    for node in graph.nodes:
        builder.begin(node)
        _lower(node, builder)
    made = _settle_outputs(graph, outputs, builder, given)
    operators = with_copies(_live(builder.operators, made))
    return _named(Program(operators, given, made))


def _lower(node: Node, builder: Builder) -> None:
    lowering = LOWERINGS.get(node.op_type)
    if lowering is None:
        raise UnsupportedError(
            "The TFLite target does not support this op",
            node=node.name,
            op_type=node.op_type,
            tensor=node.outputs[0].name if node.outputs else None,
            remedy="Replace it before exporting, or compile for another runtime",
        )
    lowering(node, builder)


def _edge(name: str, value: Value, layouts: Mapping[str, Perm]) -> Perm:
    return layouts.get(name, layout.identity(value.rank))


def _settle_outputs(
    graph: Graph,
    layouts: Mapping[str, Perm],
    builder: Builder,
    given: tuple[tuple[str, Tensor], ...],
) -> tuple[tuple[str, Tensor], ...]:
    """Return a tensor of its own for each output, copying where two would share one."""
    taken = {tensor for _, tensor in given}
    made = []
    for name, value in graph.outputs:
        tensor = builder.get(value, _edge(name, value, layouts))
        if tensor in taken or tensor.data is not None:
            copy = builder.like(tensor)
            builder.emit_reshape(tensor, copy)
            tensor = copy
        taken.add(tensor)
        made.append((name, tensor))
    return tuple(made)


def _live(
    operators: list[Operator], outputs: tuple[tuple[str, Tensor], ...]
) -> tuple[Operator, ...]:
    """Return the operators that some output depends on."""
    wanted = {tensor for _, tensor in outputs}
    kept = []
    for operator in reversed(operators):
        if wanted.isdisjoint(operator.outputs):
            continue
        kept.append(operator)
        wanted.update(tensor for tensor in operator.inputs if tensor is not None)
    return tuple(reversed(kept))


def _named(program: Program) -> Program:
    """Give the tensors of inputs and outputs the names that callers know."""
    edges = {tensor: name for name, tensor in (*program.inputs, *program.outputs)}
    names = set(edges.values())
    renamed: dict[Tensor, Tensor] = {}

    def fit(tensor: Tensor) -> Tensor:
        if tensor not in renamed:
            name = edges.get(tensor)
            if name is None and tensor.name in names:
                name = f"{tensor.name}_inner"
            renamed[tensor] = tensor if name in (None, tensor.name) else replace(tensor, name=name)
        return renamed[tensor]

    operators = tuple(
        replace(
            operator,
            inputs=tuple(None if t is None else fit(t) for t in operator.inputs),
            outputs=tuple(fit(t) for t in operator.outputs),
        )
        for operator in program.operators
    )
    return Program(
        operators,
        tuple((name, fit(tensor)) for name, tensor in program.inputs),
        tuple((name, fit(tensor)) for name, tensor in program.outputs),
    )
