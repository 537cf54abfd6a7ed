"""Models as graphs: load, check, simplify and save ONNX."""

from __future__ import annotations

# First, as the others import onnx_ir.
import qdq.graph.light_ir  # noqa: F401

# isort: split

from qdq.graph.diff import collect_encodings, live_encodings, same_encodings
from qdq.graph.edit import (
    add_initializer,
    bypass,
    constant_array,
    fresh_name,
    is_constant,
    label,
    name_nodes,
    opset_of,
    sole_consumer,
    static_shape,
)
from qdq.graph.fusion_opset import fusion_opset
from qdq.graph.load import load_model, model_file, model_from_proto
from qdq.graph.opset import raise_opset
from qdq.graph.optimize import OptimizeResult, optimize
from qdq.graph.passes import PIPELINE, GraphPass, Note, NoteLog, PassOutcome
from qdq.graph.save import save_model
from qdq.graph.shapes import (
    InferenceResult,
    check_static_inputs,
    describe_input,
    fix_dims,
    infer_shapes,
)
from qdq.graph.support import check_structure, check_supported

__all__ = [
    "PIPELINE",
    "GraphPass",
    "InferenceResult",
    "Note",
    "NoteLog",
    "OptimizeResult",
    "PassOutcome",
    "add_initializer",
    "bypass",
    "check_static_inputs",
    "check_structure",
    "check_supported",
    "collect_encodings",
    "constant_array",
    "describe_input",
    "fix_dims",
    "fresh_name",
    "fusion_opset",
    "infer_shapes",
    "is_constant",
    "label",
    "live_encodings",
    "load_model",
    "model_file",
    "model_from_proto",
    "name_nodes",
    "opset_of",
    "optimize",
    "raise_opset",
    "same_encodings",
    "save_model",
    "sole_consumer",
    "static_shape",
]
