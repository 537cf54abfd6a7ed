"""Make constants of the inputs of a node test that are constants in every network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["bound"]

# Inputs by position that are no activations: shapes, axes, bounds, and the parameters of layers
# that are trained.  The second operands of Gemm, MatMul, PRelu and arithmetic stay inputs.
PARAMETERS = {
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Dropout": (1, 2),
    "Pad": (1, 2, 3),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}


def bound(case: Any) -> tuple[onnx.ModelProto, dict[str, Any], dict[str, Any]]:
    """Return the model with its parameters bound, the inputs left by name, and the outputs."""
    inputs, outputs = case.data_sets[0]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    given = dict(zip((value.name for value in graph.input), map(_array, inputs), strict=True))
    wanted = dict(zip((value.name for value in graph.output), map(_array, outputs), strict=True))
    parameters = {
        node.input[position]
        for node in graph.node
        for position in PARAMETERS.get(node.op_type, ())
        if position < len(node.input)
    }
    kept = [value for value in graph.input if value.name not in parameters]
    for name in [value.name for value in graph.input if value.name in parameters]:
        graph.initializer.append(numpy_helper.from_array(np.asarray(given.pop(name)), name))
    del graph.input[:]
    graph.input.extend(kept)
    return model, given, wanted


def _array(value: Any) -> Any:
    """Return a tensor as numpy has it; sequences and optionals stay what they are."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
