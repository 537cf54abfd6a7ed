"""Real models: compiled for ONNX Runtime, idempotent, the same within rounding."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qdq.graph import load_model
from qdq.runtime.metrics import sqnr_db
from qdq.target.onnx import compile_onnx

pytestmark = pytest.mark.medium

# Multiply-accumulate ops that must not run in float; the rest has no integer kernel.
INTEGER = {"effnet_lite0", "mbv2_rand", "fmnist_mbv2", "fmnist_resnet"}


def quality(expected, found, name):
    return sqnr_db(np.stack([e[name] for e in expected]), np.stack([f[name] for f in found]))


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_compiled(activations, model_id, corpus_model, corpus_inputs, request):
    quantize, run = request.getfixturevalue("quantize"), request.getfixturevalue("run")
    samples = corpus_inputs(4)
    model = load_model(corpus_model)
    quantized = quantize(model, samples, activations=activations)
    floats = [run(model, sample) for sample in samples]
    before = [run(quantized, sample) for sample in samples]
    compiled = compile_onnx(quantized).model
    once = ir.to_proto(compiled).SerializeToString(deterministic=True)
    after = [run(compiled, sample) for sample in samples]
    for name in [n for n, value in floats[0].items() if value.dtype == np.float32]:
        # Rounded biases tip values to the next step, which deep networks amplify: the two models
        # are equally far from the float one rather than close to each other.
        lost = quality(floats, before, name) - quality(floats, after, name)
        assert lost < 1.5
    if activations == "int8" and model_id in INTEGER:
        counts = request.getfixturevalue("kernels")(compiled)
        assert not {"Conv", "Gemm", "MatMul", "FusedConv"} & set(counts)
    assert not compile_onnx(compiled).modified
    assert ir.to_proto(compiled).SerializeToString(deterministic=True) == once
