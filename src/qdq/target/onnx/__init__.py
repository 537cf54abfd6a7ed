"""Target ``onnx``: an optimised graph; a QDQ graph in the form that integer kernels run."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph import GraphPass, Note, OptimizeResult, PassOutcome, optimize
from qdq.target.onnx.activations import MakeActivationsUnsigned
from qdq.target.onnx.biases import StoreIntegerBiases
from qdq.target.onnx.clips import AbsorbClips
from qdq.target.onnx.matmuls import JoinMatMulBias
from qdq.target.onnx.weights import StoreIntegerWeights

__all__ = ["HOST_PASSES", "compile_onnx"]

HOST_PASSES: tuple[GraphPass, ...] = (
    # Before the clips: saturation is judged on the final integer type.
    MakeActivationsUnsigned(),
    # A Relu or Clip left between a compute op and its Q keeps the op in float.
    AbsorbClips(),
    # Before the biases: the join makes a bias of an Add.
    JoinMatMulBias(),
    # Needs the encodings of input and weight, which both still stand as DequantizeLinear.
    StoreIntegerBiases(),
    # Last, as it only changes how constants are stored.
    StoreIntegerWeights(),
)


def compile_onnx(model: ir.Model) -> OptimizeResult:
    """Optimise ``model`` in place; a QDQ model also takes the form that runs as integers.

    Every activation and weight keeps its scale and, up to the shift of int8 to uint8, its zero
    point; biases become int32.  Weight Q/DQ is never folded to float.  Running it again changes
    nothing.
    """
    first = optimize(model)
    notes: list[Note] = list(first.notes)
    modified = first.modified
    for graph_pass in HOST_PASSES:
        outcome = graph_pass(model)
        assert isinstance(outcome, PassOutcome)
        notes.extend(outcome.notes)
        modified |= outcome.modified
    swept = optimize(model)
    return OptimizeResult(model, modified or swept.modified, (*notes, *swept.notes))
