"""MatMul with constant weights takes the Add behind it as its bias, as FULLY_CONNECTED has one."""

from __future__ import annotations

from qdq.target.tflite.ir import FLOATS, Graph, Node, Value
from qdq.target.tflite.view import View

__all__ = ["join_biases"]


def join_biases(graph: Graph, view: View) -> Graph:
    """Return the graph with each such pair as one MatMul of three inputs."""
    joined: dict[Node, Node | None] = {}
    for node in graph.nodes:
        found = _bias_after(node, view) if node.op_type == "MatMul" else None
        if found is None:
            continue
        add, bias = found
        # At the place of the Add: whatever makes the MatMul's inputs stands before both.
        joined[node] = None
        joined[add] = node.replaced(
            inputs=(*node.inputs[:2], bias),
            outputs=add.outputs,
            sources=(*node.sources, *add.sources),
        )
    nodes = (joined.get(node, node) for node in graph.nodes)
    return Graph(tuple(node for node in nodes if node is not None), graph.inputs, graph.outputs)


def _bias_after(node: Node, view: View) -> tuple[Node, Value] | None:
    output = node.outputs[0]
    add = view.sole_reader(output)
    weight = node.data(1)
    if add is None or add.op_type != "Add" or output.dtype not in FLOATS:
        return None
    if weight.rank != 2 or not _is_constant(weight, view) or add.outputs[0].shape != output.shape:
        return None
    other = add.data(1) if add.inputs[0] is output else add.data(0)
    is_vector = other.data is not None and other.shape in (output.shape[-1:], (1,), ())
    return (add, other) if is_vector else None


def _is_constant(value: Value, view: View) -> bool:
    """Whether ``value`` is constant, fake-quantized or not."""
    for _ in range(3):
        if value.data is not None:
            return True
        node = view.producer(value)
        if node is None or not view.is_qdq(node):
            return False
        value = node.data(0)
    return False
