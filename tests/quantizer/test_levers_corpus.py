"""On real models: names of the given model reach the prepared graph, whatever it fused."""

from __future__ import annotations

import re
from collections import Counter

import onnx_ir as ir
import pytest

import qdq
from qdq.graph import load_model

pytestmark = pytest.mark.medium

# What preparation may fold into constants or drop, for one model or another.
VANISHING = {
    *("Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Identity", "Pow", "Range"),
    *("Reshape", "Shape", "Size", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Gather", "Mul"),
    *("Add", "Div", "Sub", "Floor", "Equal", "Where", "Sqrt", "Flatten", "Dropout", "If", "Not"),
}


def test_every_node_that_computes_is_computed_by_one(corpus_model):
    given = load_model(corpus_model).graph
    preview = qdq.plan_quantization(corpus_model)
    assert all(node.sources for node in preview.nodes)
    claims = Counter(name for node in preview.nodes for name in node.sources)
    assert max(claims.values()) <= 2, "a node that feeds two fused ones counts for both"
    types = {node.name or f"{node.op_type}_{node.outputs[0].name}": node.op_type for node in given}
    lost = Counter(types[name] for name in types if name not in claims)
    assert set(lost) <= VANISHING
    for node in preview.nodes:
        # What keeps its name keeps its op, or became one of several in a fusion.
        if node.name in types and types[node.name] != node.op_type:
            assert len(node.sources) > 1 or node.op_type in ("Reshape", "Conv", "Gemm", "MatMul")


def test_a_wide_half_keeps_all_pairs_of_one_width(corpus_model):
    """Every node reads and gives its own width also where half of a network has another."""
    preview = qdq.plan_quantization(corpus_model)
    names = [node.name for node in preview.nodes if node.bits is not None]
    if len(names) < 2:
        pytest.skip("nothing of this model is quantized")
    text = _expression(names[len(names) // 2])
    wide = qdq.plan_quantization(corpus_model, options=f"--override '{text}=int16'")
    placement = wide.placed.placement
    bits = {node.node: node.bits for node in placement.nodes}
    assert 16 in bits.values()
    made = {site.tensor: site.bits or 8 for site in placement.activations}
    converted = {(n, at): site.bits for site in placement.converts for n, at in site.uses}
    for node in wide.placed.model.graph:
        if node.name not in bits:
            continue
        for at, value in enumerate(node.inputs):
            if value is not None and value.name in made and _carries(node, at):
                assert converted.get((node.name, at), made[value.name]) == bits[node.name]


def _expression(name: str) -> str:
    """Return an expression for the node; one that is too long is cut to its beginning."""
    escaped = re.escape(name).replace("'", ".")
    return escaped if len(escaped) <= 256 else re.escape(name[:100]) + ".*"


def _carries(node: ir.Node, position: int) -> bool:
    """Whether an input carries data, not settings of the op such as a Clip's bounds."""
    value = node.inputs[position]
    assert value is not None
    return value.dtype == ir.DataType.FLOAT and not value.is_initializer()


def test_opsets_of_a_mixed_model_hold_its_types(corpus_model):
    preview = qdq.plan_quantization(corpus_model, options="--override '.*=int16'")
    assert preview.placed.model.graph.opset_imports[""] >= 21
