"""What ONNX Runtime refuses on x86, or computes in float between Q/DQ: asked of it, not guessed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir

from qdq.base.errors import QdqError
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.rules.biases import BiasOverflow
from qdq.target.lint.view import GraphView

__all__ = ["lint_onnxruntime", "measured_with"]

_CLAMPS = ("Relu", "Clip")
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def measured_with() -> str:
    """Return the ONNX Runtime that is asked."""
    from importlib.metadata import version

    return f"onnxruntime {version('onnxruntime')} on this processor"


def lint_onnxruntime(model: ir.Model) -> tuple[Finding, ...]:
    """Return what stops ONNX Runtime, biases that overflow, and nodes left in float.

    ``model`` is a copy that is used up.  It takes the form of target onnx; then ONNX Runtime
    optimizes it and its graph is read back.
    """
    from qdq.target.onnx import compile_onnx

    view = GraphView(model)
    overflows = tuple(BiasOverflow().check(view, None))
    try:
        compile_onnx(model)
        proto = ir.to_proto(model)
        optimized = _optimized(proto)
    except QdqError as error:
        return (
            *overflows,
            Finding(
                "unsupported_model",
                Severity.ERROR,
                error.node,
                error.op_type,
                error.tensor,
                error.cause.rstrip("."),
                error.remedy.rstrip(".") or "Check the model with ONNX Runtime",
            ),
        )
    return (*overflows, *_float_nodes(proto.graph, optimized))


def _optimized(proto: onnx.ModelProto) -> onnx.GraphProto:
    """Return the graph that ONNX Runtime would run."""
    from qdq.runtime.ort import load_session, session_options

    with tempfile.TemporaryDirectory(prefix="qdq-lint-") as folder:
        target = Path(folder) / "optimized.onnx"
        options = session_options(optimize=True, threads=1, spin=False)
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "weights"
        )
        load_session(proto.SerializeToString(), options)
        return onnx.load(target, load_external_data=False).graph


def _float_nodes(source: onnx.GraphProto, optimized: onnx.GraphProto) -> Iterator[Finding]:
    """Yield the nodes between a DequantizeLinear of an activation and a QuantizeLinear.

    A Relu or Clip may stand before the latter.  Others are float in the model itself.
    """
    from qdq.runtime.nodes import source_nodes

    constants = {tensor.name for tensor in optimized.initializer}
    zero_points = {tensor.name: tensor.data_type for tensor in optimized.initializer}
    wide = (onnx.TensorProto.UINT16, onnx.TensorProto.INT16)
    dequantized: dict[str, bool] = {}
    quantized: dict[str, bool] = {}
    for node in optimized.node:
        if node.op_type not in (_QUANTIZE, _DEQUANTIZE) or node.input[0] in constants:
            continue
        is_wide = len(node.input) > 2 and zero_points.get(node.input[2]) in wide
        if node.op_type == _DEQUANTIZE:
            dequantized[node.output[0]] = is_wide
        else:
            quantized[node.input[0]] = is_wide
    for node in reversed(optimized.node):
        if node.op_type in _CLAMPS and node.output[0] in quantized:
            quantized[node.input[0]] = quantized[node.output[0]]
    kernels = [(node.name, node.op_type) for node in optimized.node]
    names = source_nodes(kernels, source)
    op_types = {node.name: node.op_type for node in source.node}
    for node, name in zip(optimized.node, names, strict=True):
        if node.op_type in (_QUANTIZE, _DEQUANTIZE):
            continue
        before = [dequantized[it] for it in node.input if it in dequantized]
        after = [quantized[it] for it in node.output if it in quantized]
        if before and after:
            place = name or node.name
            is_wide = any(before + after)
            yield _finding(place, op_types.get(place, node.op_type), wide=is_wide)


def _finding(node: str, op_type: str, *, wide: bool) -> Finding:
    why = "ONNX Runtime computes it in float between DequantizeLinear and QuantizeLinear"
    if wide:
        why += ": its x86 kernels are of 8 bits"
        remedy = "Use 8-bit activations where speed counts more than accuracy"
    else:
        remedy = (
            "Quantize it with --quantize_target ort-x86, or leave it float: --exclude_op_types "
            f"{op_type}"
        )
    return Finding("float_island", Severity.WARNING, node, op_type, None, why, remedy)
