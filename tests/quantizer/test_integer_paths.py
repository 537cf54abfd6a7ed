"""No integer, shape, position or mask computation is quantized, on any model of the corpus.

The oracle shares nothing with ``data_flow``: it follows the edges of the serialized graph.
"""

from __future__ import annotations

from collections import defaultdict

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto

from qdq.base.options import JobKind, parse_options
from qdq.graph import load_model
from qdq.quantizer.prepare import prepare_model
from qdq.quantizer.rules import TARGETS, load_target
from qdq.quantizer.settings import resolve_settings
from qdq.quantizer.sites import place_sites

pytestmark = pytest.mark.medium

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
# Input positions that say how, not what (ONNX operator specifications).
PARAMETERS = {
    "Reshape": {1},
    "Expand": {1},
    "Slice": {1, 2, 3, 4},
    "Gather": {1},
    "GatherND": {1},
    "GatherElements": {1},
    "Resize": {1, 2, 3},
    "Tile": {1},
    "Pad": {1, 3},
    "Unsqueeze": {1},
    "Squeeze": {1},
    "TopK": {1},
    "Range": {0, 1, 2},
    "ConstantOfShape": {0},
    "OneHot": {0, 1},
    "Where": {0},
    "Shape": {0},
    "Size": {0},
}


def dtypes(graph):
    found = {i.name: i.data_type for i in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        found[value.name] = value.type.tensor_type.elem_type
    return found


def data_of(graph, kinds):
    """Return the names that float samples or looked-up rows flow into, by what and not by how."""
    constants = {i.name for i in graph.initializer}
    data = {i.name for i in graph.input if kinds[i.name] in (*FLOATS, TensorProto.UINT8)}
    data -= constants
    for node in graph.node:
        what = [
            name
            for position, name in enumerate(node.input)
            if name and position not in PARAMETERS.get(node.op_type, ())
        ]
        table = node.op_type.startswith("Gather") and node.input[0] in constants
        if table or any(name in data for name in what):
            data.update(name for name in node.output if kinds.get(name) in FLOATS)
    return data


def ends_of(graph):
    """Return name -> the (op type, position) pairs where it is read at last, through any ops."""
    readers = defaultdict(list)
    for node in graph.node:
        for position, name in enumerate(node.input):
            readers[name].append((node, position))
    outputs = {o.name for o in graph.output}
    ends: dict[str, set[str]] = {}
    for node in reversed(graph.node):
        for name in (*node.output, *node.input):
            found = {"output"} if name in outputs else set()
            for reader, position in readers[name]:
                if position in PARAMETERS.get(reader.op_type, ()):
                    found.add("parameter")
                else:
                    found.update(*(ends.get(it, set()) for it in reader.output))
            ends[name] = found
    return ends


@pytest.mark.parametrize("target", TARGETS)
def test_only_data_is_quantized(target, corpus_model):
    settings = resolve_settings(
        weights="int8", activations="int8", options=parse_options(JobKind.QUANTIZE, "")
    )
    model = load_model(corpus_model)
    prepare_model(model, settings)
    placement = place_sites(model.graph, load_target(target), activation_bits=8)
    graph = onnx.shape_inference.infer_shapes(ir.to_proto(model)).graph
    kinds = dtypes(graph)
    data, ends = data_of(graph, kinds), ends_of(graph)
    sites = {site.tensor for site in placement.activations}
    assert sites
    assert {name for name in sites if kinds[name] != TensorProto.FLOAT} == set()
    assert sites - data == set()
    assert {name for name in sites if ends[name] <= {"parameter"}} == set()
    constants = {site.tensor for site in (*placement.constants, *placement.weights)}
    assert {name for name in constants if kinds[name] != TensorProto.FLOAT} == set()
    used_as_parameter = {
        name
        for node in graph.node
        for position, name in enumerate(node.input)
        if position in PARAMETERS.get(node.op_type, ())
    }
    assert constants & used_as_parameter == set()
