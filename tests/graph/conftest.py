"""Graphs from ONNX text, run by ONNX Runtime with every optimisation off."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from qdq.graph.load import model_from_proto

Build = Callable[..., ir.Model]
Run = Callable[[ir.Model, Mapping[str, np.ndarray]], dict[str, np.ndarray]]
HEADER = '<ir_version: 8, opset_import: ["" : {opset}]>\n'


def make_proto(text: str, opset: int, **weights: np.ndarray) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(HEADER.format(opset=opset) + text)
    for name, array in weights.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


@pytest.fixture
def proto_of() -> Callable[..., onnx.ModelProto]:
    """proto(text, opset=17, w=array...): the parsed text with these initializers."""

    def make(text: str, *, opset: int = 17, **weights: np.ndarray) -> onnx.ModelProto:
        return make_proto(text, opset, **weights)

    return make


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """build(text, opset=17, w=array...) -> ir.Model."""

    def make(text: str, *, opset: int = 17, **weights: Any) -> ir.Model:
        return model_from_proto(make_proto(text, opset, **weights), folder=tmp_path)

    return make


@pytest.fixture
def run() -> Run:
    """run(model, feeds) -> outputs by name, from an interpreter that fuses nothing."""

    def go(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        proto = ir.serde.serialize_model(model)
        session = ort.InferenceSession(proto.SerializeToString(), options)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, dict(feeds)), strict=True))

    return go


@pytest.fixture
def ops() -> Callable[[ir.Model], list[str]]:
    """ops(model) -> the op types in graph order."""
    return lambda model: [node.op_type for node in model.graph]


@pytest.fixture
def serialized() -> Callable[[ir.Model], bytes]:
    """serialized(model) -> its bytes."""
    return lambda model: ir.serde.serialize_model(model).SerializeToString(deterministic=True)
