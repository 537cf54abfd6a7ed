"""A graph as the HTP compiler sees it: constants folded, ops with the Q/DQ around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

import onnx_ir as ir

from qdq.graph import is_constant, label
from qdq.graph.edit import RANDOM_OPS
from qdq.target.lint.groups import Group, find_groups
from qdq.target.onnx.encodings import dequantized_by

__all__ = ["GraphView", "Place", "dtype_of", "is_qdq", "op_key", "place"]

_FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)
_QDQ = ("QuantizeLinear", "DequantizeLinear")
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class GraphView:
    """The main graph of ``model``, read only; shapes and dtypes are inferred already."""

    model: ir.Model

    @cached_property
    def constants(self) -> frozenset[ir.Value]:
        """Initializers, and what is computed from nothing else (fake-quantized weights too)."""
        known = {it for it in self.model.graph.initializers.values() if is_constant(it)}
        for node in self.model.graph:
            # What draws numbers, and a node without inputs but Constant, is no constant.
            if node.op_type in RANDOM_OPS or not (node.inputs or node.op_type == "Constant"):
                continue
            if all(value is None or value in known for value in node.inputs):
                known.update(node.outputs)
        return frozenset(known)

    @cached_property
    def nodes(self) -> tuple[ir.Node, ...]:
        """The ops that are left when constants are folded, without Q/DQ, in graph order."""
        return tuple(
            node
            for node in self.model.graph
            if not is_qdq(node) and any(it not in self.constants for it in node.outputs)
        )

    @cached_property
    def groups(self) -> dict[ir.Node, Group]:
        """The chain that runs as one integer op, of each node that is in one."""
        found = find_groups(self.nodes, self.constants)
        return {node: group for group in found for node in group.nodes}

    @cached_property
    def is_quantized(self) -> bool:
        """Whether any activation has an encoding."""
        return any(
            is_qdq(node) and any(it not in self.constants for it in node.outputs)
            for node in self.model.graph
        )

    def float_inputs(self, node: ir.Node) -> list[ir.Value]:
        """Return the float activations that ``node`` reads."""
        return [it for it in node.inputs if it is not None and self._is_activation(it)]

    def float_outputs(self, node: ir.Node) -> list[ir.Value]:
        """Return the float outputs of ``node``."""
        return [it for it in node.outputs if it.dtype in _FLOATS]

    def is_index(self, node: ir.Node) -> bool:
        """Tell whether ``node`` has nothing to do with float data."""
        return not self.float_inputs(node) and not self.float_outputs(node)

    def is_integer(self, node: ir.Node) -> bool:
        """Tell whether all float data come from a DQ and go to Qs, be it through its group."""
        inputs, outputs = self.float_inputs(node), self.float_outputs(node)
        return all(self._comes_quantized(it) for it in inputs) and all(
            self._goes_quantized(node, it) for it in outputs
        )

    def form(self, node: ir.Node) -> str:
        """Return ``float``, ``uint8`` or ``uint16``: the table's column for ``node``."""
        if not self.is_integer(node):
            return "float"
        sixteen = any("16" in dtype for dtype in self._dtypes_around(node))
        return "uint16" if sixteen else "uint8"

    def _is_activation(self, value: ir.Value) -> bool:
        return value.dtype in _FLOATS and value not in self.constants

    def _comes_quantized(self, value: ir.Value) -> bool:
        return dequantized_by(value) is not None or self._is_inner(value)

    def _goes_quantized(self, node: ir.Node, value: ir.Value) -> bool:
        if self._is_inner(value):
            return True
        readers = [use.node for use in value.uses()]
        if not readers and node.outputs[0] is not value:
            # An optional second output that nobody reads.
            return not value.is_graph_output()
        return (
            bool(readers)
            and not value.is_graph_output()
            and all(reader.op_type == "QuantizeLinear" for reader in readers)
        )

    def _is_inner(self, value: ir.Value) -> bool:
        producer = value.producer()
        group = None if producer is None else self.groups.get(producer)
        return group is not None and producer is not group.nodes[-1]

    def _dtypes_around(self, node: ir.Node) -> Iterator[str]:
        group = self.groups.get(node)
        for member in group.nodes if group is not None else (node,):
            for value in self.float_inputs(member):
                reader = dequantized_by(value)
                if reader is not None:
                    yield dtype_of(reader.inputs[0])
            for value in self.float_outputs(member):
                for use in value.uses():
                    if is_qdq(use.node):
                        yield dtype_of(use.node.outputs[0])


def dtype_of(value: ir.Value | None) -> str:
    """Return such as ``uint8``."""
    return "unknown" if value is None or value.dtype is None else value.dtype.name.lower()


def is_qdq(node: ir.Node) -> bool:
    """Tell whether ``node`` is a QuantizeLinear or DequantizeLinear of any domain."""
    return node.op_type in _QDQ


def op_key(node: ir.Node) -> str:
    """Return the row of ``node`` in the table of ops."""
    return node.op_type if node.domain in _STANDARD else f"{node.domain}.{node.op_type}"


class Place(TypedDict):
    """What a Finding says of where it is."""

    node: str | None
    op_type: str | None


def place(node: ir.Node | None) -> Place:
    """Return where ``node`` is; None stands for the model as a whole."""
    if node is None:
        return {"node": None, "op_type": None}
    return {"node": label(node), "op_type": node.op_type}
