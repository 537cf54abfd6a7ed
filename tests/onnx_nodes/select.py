"""Which node tests of the installed onnx package count: the rule, and nothing but the rule.

A test is selected when its graph is made of the ops below alone (Constant aside; a test that onnx
has expanded into function bodies counts where all of the body does), and all its tensors have
static shapes, as node tests have.  Dtypes, attributes and what the target can do have no say.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import onnx

__all__ = ["DTYPES", "OPS", "all_modules", "cases_of", "dtypes_of", "is_selected", "ops_of"]

# The ops that the TFLite target promises for vision networks.
OPS = frozenset(
    (
        *("Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv"),
        *("ConvTranspose", "DepthToSpace", "Div", "Dropout", "Elu", "Flatten", "Gemm"),
        *("GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity"),
        *("LeakyRelu", "MatMul", "Max", "MaxPool", "Min", "Mul", "PRelu", "Pad", "ReduceMax"),
        *("ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Sigmoid", "Slice"),
        *("Softmax", "SpaceToDepth", "Split", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"),
    )
)

# What LiteRT 2.3.0 converts between (its CAST kernel, measured); it has no arithmetic on strings,
# uint64, and numbers of less than 8 bits or of 8 bits with a fraction.
DTYPES = frozenset(
    (
        *("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "BOOL"),
        *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"),
    )
)
_PACKAGE = "onnx.backend.test.case.node"


def all_modules() -> list[str]:
    """Return the names of onnx's modules of node tests."""
    package = importlib.import_module(_PACKAGE)
    return [module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg]


def cases_of(modules: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield the selected tests of ``modules``, each with its module."""
    package = importlib.import_module(_PACKAGE)
    for module in modules:
        before = len(package._NodeTestCases)
        with warnings.catch_warnings():
            # numpy's, in tests of other ops.
            warnings.simplefilter("ignore")
            importlib.import_module(f"{_PACKAGE}.{module}")
        for case in package._NodeTestCases[before:]:
            if is_selected(case):
                yield module, case


def is_selected(case: Any) -> bool:
    """Whether the rule selects a test."""
    graph = case.model.graph
    ops = [node for node in graph.node if node.op_type != "Constant"]
    if not ops or any(node.op_type not in OPS or node.domain for node in ops):
        return False
    return all(_is_static(value.type) for value in (*graph.input, *graph.output))


def ops_of(case: Any) -> str:
    """Return the ops of its graph, as text."""
    ops = dict.fromkeys(node.op_type for node in case.model.graph.node)
    return " + ".join(op for op in ops if op != "Constant")


def dtypes_of(case: Any) -> frozenset[str]:
    """Return the dtypes of its inputs and outputs; sequences and optionals by their kind."""
    graph = case.model.graph
    return frozenset(_dtype(value.type) for value in (*graph.input, *graph.output))


def _dtype(kind: onnx.TypeProto) -> str:
    if kind.HasField("tensor_type"):
        return onnx.TensorProto.DataType.Name(kind.tensor_type.elem_type)
    return str(kind.WhichOneof("value"))


def _is_static(kind: onnx.TypeProto) -> bool:
    if not kind.HasField("tensor_type"):
        return True
    return all(dim.HasField("dim_value") for dim in kind.tensor_type.shape.dim)
