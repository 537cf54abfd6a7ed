"""Random graphs with random widths: the file keeps what the placement promises, and runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import qdq
from qdq.target.onnx.encodings import dequantized_by, encoding_of
from random_graphs.drawing import Drawing
from random_graphs.encodings import outputs_of
from random_graphs.graphs import float_graphs

QUICK = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MEDIUM = settings(QUICK, max_examples=400)
Case = tuple[onnx.ModelProto, dict[str, np.ndarray[Any, Any]], str, str]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Return a model, samples, overrides for some nodes, and the default width."""
    g: Drawing = draw(float_graphs())
    model = g.model(outputs_of(g))
    names = [node.name or f"n{i}" for i, node in enumerate(model.graph.node)]
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    asked = draw(
        st.dictionaries(
            st.sampled_from(names), st.sampled_from(["int8", "int16", "float"]), max_size=5
        )
    )
    rows = {n: [g.rng.standard_normal(s).astype(np.float32) for _ in range(3)]
            for n, s in g.inputs.items()}  # fmt: skip
    text = " ".join(f"--override {name}={value}" for name, value in asked.items())
    return model, rows, text, draw(st.sampled_from(["int8", "int16"]))


@QUICK
@given(case=cases())
def test_widths(case: Case) -> None:
    check(case)


@pytest.mark.medium
@pytest.mark.timeout(900)
@MEDIUM
@given(case=cases())
def test_many_widths(case: Case) -> None:
    check(case)


def check(case: Case) -> None:
    model, rows, text, activations = case
    options = f"--rounding nearest {text}"
    try:
        preview = qdq.plan_quantization(model, activations=activations, options=options)
    except qdq.OptionError as error:
        # A node that preparation dropped, and whose name was drawn.
        assert "dropped" in str(error) or "no node" in str(error)
        return
    except qdq.ModelInvalidError as error:
        assert "computes nothing" in str(error)
        return
    done = qdq.quantize(model, rows, activations=activations, options=options)
    bits = {node.name: node.bits for node in preview.nodes if node.bits is not None}
    # A float node may read what was quantized for another, and give what another quantizes.
    wrong = [it for it in _widths(done.model) if it[0] in bits and bits[it[0]] != it[1]]
    assert not wrong
    expected = qdq.run(done.model, rows)
    compiled = qdq.compile(done.model, options="--target_runtime onnx")
    actual = qdq.run(compiled.model, rows)
    assert expected.outputs is not None and actual.outputs is not None
    for name in expected.outputs:
        for a, b in zip(expected.outputs[name], actual.outputs[name], strict=True):
            assert a.shape == b.shape and np.isfinite(b).all() == np.isfinite(a).all()


def _widths(model: ir.Model) -> Iterator[tuple[str, int]]:
    """Yield (node, bits) for each activation that a node reads from a Q/DQ pair, or gives to one.

    Of a supergroup, whose values between have no pair, only the ends are told.
    """
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for value in node.inputs:
            reader = dequantized_by(value)
            encoding = encoding_of(reader)
            quantizer = None if reader is None or reader.inputs[0] is None else (
                reader.inputs[0].producer()
            )  # fmt: skip
            if encoding is None or quantizer is None or _is_parameter(quantizer):
                continue
            told = encoding.zero_point.dtype.itemsize * 8
            if _is_quantized(node):
                yield str(node.name), told
        for value in node.outputs:
            for use in value.uses():
                encoding = encoding_of(use.node)
                if use.node.op_type == "QuantizeLinear" and encoding and _reads_pair(node):
                    yield str(node.name), encoding.zero_point.dtype.itemsize * 8


def _is_parameter(quantizer: ir.Node) -> bool:
    source = quantizer.inputs[0]
    return source is not None and source.is_initializer()


def _reads_pair(node: ir.Node) -> bool:
    return any(dequantized_by(value) is not None for value in node.inputs)


def _is_quantized(node: ir.Node) -> bool:
    """Whether the node's result, or that of the Relu or Clip behind it, is quantized too."""
    for value in node.outputs:
        for use in value.uses():
            if use.node.op_type == "QuantizeLinear":
                return True
    return False
