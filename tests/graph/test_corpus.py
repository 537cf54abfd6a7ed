"""Every real model computes the same after the pipeline and after raising its opset."""

import numpy as np
import pytest

from qdq.graph.load import load_model
from qdq.graph.opset import raise_opset
from qdq.graph.optimize import optimize
from qdq.graph.save import save_model
from qdq.graph.support import check_supported

pytestmark = pytest.mark.medium

# Folding reorders float32 sums; measured on these models: up to 2e-6 of the largest output,
# 1e-4 where that is itself tiny.
RELATIVE = 2e-4


def assert_close(after, before):
    assert list(after) == list(before)
    for name, expected in before.items():
        scale = np.abs(expected).max() if expected.size else 0.0
        np.testing.assert_allclose(after[name], expected, rtol=0, atol=RELATIVE * scale + 1e-7)


def test_the_pipeline_keeps_what_it_computes(
    corpus_model, corpus_inputs, run, serialized, tmp_path
):
    model = load_model(corpus_model)
    samples = corpus_inputs(2, seed=11)
    before = [run(model, sample) for sample in samples]
    count = len(model.graph)
    optimize(model)
    check_supported(model)
    assert len(model.graph) <= count
    for sample, expected in zip(samples, before, strict=True):
        assert_close(run(model, sample), expected)
    again = serialized(model)
    assert not optimize(model).modified
    assert serialized(model) == again
    save_model(model, tmp_path / "m.onnx")
    reloaded = load_model(tmp_path / "m.onnx")
    assert not optimize(reloaded).modified
    raise_opset(reloaded, 21)
    for sample, expected in zip(samples, before, strict=True):
        assert_close(run(reloaded, sample), expected)


def test_raising_the_opset_alone_changes_nothing(corpus_model, corpus_inputs, run):
    model = load_model(corpus_model)
    sample = corpus_inputs(1, seed=12)[0]
    before = run(model, sample)
    raise_opset(model, 21)
    assert_close(run(model, sample), before)
