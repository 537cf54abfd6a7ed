"""From an AIMET folder to a QDQ graph with exactly the encodings that AIMET exported.

This stands here because it joins two rooms that do not know one another: the frontend reads the
encodings, the quantizer's emitter writes them into the graph as it does its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from qdq.base.errors import ModelInvalidError, UnsupportedError
from qdq.base.progress import Progress
from qdq.frontend import AimetEncoding, AimetModel
from qdq.graph import check_supported, infer_shapes, is_constant, raise_opset
from qdq.graph.passes.constants import LiftConstants
from qdq.graph.passes.inputs import NormalizeInputs
from qdq.quantizer import Encoding, QuantizationPlan
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.placement import ActivationSite, WeightSite
from qdq.quantizer.plan import PlannedActivation, PlannedWeight

__all__ = ["apply_encodings"]

_RULE = "aimet"
_TOLD = 5
# QuantizeLinear: per channel since opset 13; 4 and 16 bits since opset 21 (ONNX changelog).
_OPSETS = {4: 21, 8: 13, 16: 21}
_QDQ = ("QuantizeLinear", "DequantizeLinear")


def apply_encodings(source: AimetModel, progress: Progress) -> ir.Model:
    """Put the encodings of ``source`` into its graph, in place, as Q/DQ pairs; return the graph.

    Weights stay float on their grid, as the quantizer leaves them.  Encodings of 32 bits are left
    out: a bias takes the scale of its products.  Raises ModelInvalidError for an encoding without
    a tensor or with the wrong number of channels, UnsupportedError for tensors that are not float.
    """
    model, encodings = source.graph, source.encodings
    NormalizeInputs()(model)
    LiftConstants()(model)
    check_supported(model)
    NameFixPass()(model)
    _refuse_quantized(model)
    known = _known_values(model.graph)
    _check_names([it.name for it in encodings.tensors] + list(encodings.floats), known)
    used = [it for it in encodings.tensors if it.bits < 32]
    if used:
        raise_opset(model, max(_OPSETS[it.bits] for it in used))
    infer_shapes(model)
    # Raising the opset may have made other values.
    plan = _plan(used, _known_values(model.graph))
    emit_plan(model, plan)
    model.metadata_props["qdq.encodings"] = f"AIMET {encodings.version}"
    _tell(source, progress)
    return model


def _plan(encodings: Sequence[AimetEncoding], known: dict[str, ir.Value]) -> QuantizationPlan:
    activations, weights = [], []
    for encoding in encodings:
        value = known[encoding.name]
        if value.dtype != ir.DataType.FLOAT:
            raise UnsupportedError(
                f"It has an encoding, and is {value.dtype} and not float32",
                tensor=encoding.name,
                remedy="Export the model in float32",
            )
        if not tuple(value.uses()) and not value.is_graph_output():
            continue
        if is_constant(value):
            weights.append(_weight(value, encoding))
        else:
            activations.append(_activation(encoding))
    return QuantizationPlan(_RULE, tuple(activations), tuple(weights), (), ())


def _activation(encoding: AimetEncoding) -> PlannedActivation:
    if len(encoding.scale) != 1:
        raise UnsupportedError(
            "It is an activation with a scale for each channel",
            tensor=encoding.name,
            remedy="Export activations with one scale for each tensor",
        )
    site = ActivationSite(encoding.name, encoding.name, _RULE)
    return PlannedActivation(site, _quantizer_form(encoding, None), _RULE, None, 0.0)


def _weight(value: ir.Value, encoding: AimetEncoding) -> PlannedWeight:
    axis = None if len(encoding.scale) == 1 else _channel_axis(value, encoding)
    uses = tuple((str(use.node.name), use.idx) for use in value.uses())
    site = WeightSite(encoding.name, axis, _RULE, uses, ())
    # What integer kernels multiply with is signed.
    return PlannedWeight(site, _quantizer_form(encoding.shifted(signed=True), axis), _RULE, 0)


def _quantizer_form(encoding: AimetEncoding, axis: int | None) -> Encoding:
    scale = tuple(float(np.float32(value)) for value in encoding.scale)
    return Encoding(scale, encoding.zero_point, encoding.bits, encoding.signed, axis)


def _channel_axis(value: ir.Value, encoding: AimetEncoding) -> int:
    """Return the axis that has one scale for each entry: said, or that of the output channels."""
    assert value.const_value is not None
    shape, count = value.const_value.shape.numpy(), len(encoding.scale)
    candidates: list[int | None]
    if encoding.axis is not None:
        candidates = [encoding.axis + len(shape) if encoding.axis < 0 else encoding.axis]
    else:
        candidates = [_output_axis(use.node, use.idx, len(shape)) for use in value.uses()]
        # What only moves data between the weight and its op says nothing, the count alone does.
        alike = [place for place, size in enumerate(shape) if size == count]
        candidates += alike if len(alike) == 1 else []
    for axis in candidates:
        if axis is not None and 0 <= axis < len(shape) and shape[axis] == count:
            return axis
    raise ModelInvalidError(
        f"It has {count} scales, and its shape {tuple(shape)} has no channel axis of that size",
        tensor=encoding.name,
        remedy="Export model and encodings together",
    )


def _output_axis(node: ir.Node, index: int, rank: int) -> int | None:
    """Return the output channels of a weight by the op that reads it (AIMET's own axes)."""
    if index != 1 or node.domain:
        return None
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1, "PRelu": 0}.get(node.op_type)


def _known_values(graph: ir.Graph) -> dict[str, ir.Value]:
    values = [*graph.inputs, *graph.initializers.values()]
    values += [output for node in graph for output in node.outputs]
    return {value.name: value for value in values if value.name}


def _check_names(names: Sequence[str], known: dict[str, ir.Value]) -> None:
    missing = [name for name in names if name not in known]
    if missing:
        told = ", ".join(f"'{name[:100]}'" for name in missing[:_TOLD])
        more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        raise ModelInvalidError(
            f"The graph has no tensor for {len(missing)} of {len(names)} encodings: {told}{more}",
            remedy="Give the .onnx and the .encodings of one and the same export",
        )


def _refuse_quantized(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type in _QDQ and not node.domain:
            raise ModelInvalidError(
                "The model holds Q/DQ nodes, and has encodings beside it",
                node=node.name,
                op_type=node.op_type,
                remedy="Give the QDQ model alone, or the float model with its encodings",
            )


def _tell(source: AimetModel, progress: Progress) -> None:
    encodings = source.encodings
    biases = sum(it.bits == 32 for it in encodings.tensors)
    if biases:
        progress.notice(
            f"{biases} encodings of 32 bits are left out: a bias takes the scale of its products"
        )
    if encodings.floats:
        progress.notice(f"{len(encodings.floats)} tensors stay float, as their encodings say")
