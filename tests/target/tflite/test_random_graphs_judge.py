"""What judges the random graphs, on faults put in by hand: none may pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from qdq.target.interface import InterfaceRequest
from qdq.target.tflite import TfliteModel, compile_tflite
from random_graphs.bounds import bound_model
from random_graphs.child import Child
from random_graphs.encodings import Encoding, Output, Quantized, run_onnx
from random_graphs.structure import check_encodings, check_islands, check_names

TEXT = """g (float[1,2,4,4] x) => (float[1,3,4,4] y) {
    x_q0 = QuantizeLinear (x, sx, zx) x_dq0 = DequantizeLinear (x_q0, sx, zx)
    w_dq = DequantizeLinear <axis = 0> (w, w_scale, zw) c = Conv (x_dq0, w_dq) r = Relu (c)
    c_q1 = QuantizeLinear (r, sc, zc) c_dq1 = DequantizeLinear (c_q1, sc, zc)
    h = OP (c_dq1)
    h_q2 = QuantizeLinear (h, sh, zc) y = DequantizeLinear (h_q2, sh, zc) }"""


@pytest.fixture
def quantized(parse: Callable[..., Any]) -> Callable[..., Quantized]:
    """Conv, Relu and another op; an op without a kernel is an island."""

    def made(op: str = "Tanh") -> Quantized:
        random = np.random.default_rng(2)
        model: ir.Model = parse(
            TEXT.replace("OP", op),
            opset=21,
            w=random.integers(-127, 128, (3, 2, 1, 1)).astype(np.int8),
            w_scale=np.asarray([0.01, 0.02, 0.03], np.float32),
            zw=np.zeros(3, np.int8),
            sx=np.float32(0.03),
            zx=np.int8(3),
            sc=np.float32(0.04),
            zc=np.int8(-128),
            sh=np.float32(0.012),
        )
        grid = Encoding(0.012, -128, "int8")
        encodings = {
            "x_q0": Encoding(0.03, 3, "int8"),
            "c_q1": Encoding(0.04, -128, "int8"),
            "h_q2": grid,
        }
        x = encodings["x_q0"].snap(random.standard_normal((1, 2, 4, 4)))
        proto = ir.to_proto(model)
        return Quantized(proto, [Output("y", grid)], encodings, {"x": encodings["x_q0"]}, {"x": x})

    return made


def _compiled(quantized: Quantized) -> TfliteModel:
    return compile_tflite(ir.from_proto(quantized.model), InterfaceRequest())


def test_the_bound_is_a_few_steps_and_holds_the_truth(quantized: Callable[..., Any]) -> None:
    case = quantized()

    found = run_onnx(bound_model(case, {}), case.sample)

    wanted = run_onnx(case.model, case.sample)["y"]
    off = np.abs(found["y__reference"] - wanted) / 0.012
    limit = found["y__limit"] / 0.012
    # The reference is not rounded; the bound is the convolution's step and a half, carried, and
    # that of the last op.
    assert off.max() <= 0.51
    assert (limit > 1.5).all() and (limit < 10).all()


def test_the_bound_starts_anew_where_a_value_is_known(quantized: Callable[..., Any]) -> None:
    case = quantized()
    middle = Output("c_dq1", case.encodings["c_q1"])
    case = replace(case, outputs=[middle, *case.outputs])
    # As if the runtime had made something else of the first half.
    other = case.encodings["c_q1"].snap(np.full((1, 3, 4, 4), 2.0))

    found = run_onnx(bound_model(case, {"c_dq1": other}), case.sample | {"c_dq1__known": other})

    np.testing.assert_allclose(found["y__reference"], np.tanh(other), rtol=1e-5)
    assert (found["y__limit"] / 0.012 < 3.2).all()


def test_a_new_scale_is_seen(quantized: Callable[..., Any]) -> None:
    case = quantized()
    made = _compiled(case)
    check_encodings(made, case)
    encodings = case.encodings | {"c_q1": Encoding(0.041, -128, "int8")}

    with pytest.raises(AssertionError, match="new grid"):
        check_encodings(made, replace(case, encodings=encodings))


def test_an_untold_island_is_seen(quantized: Callable[..., Any]) -> None:
    case = quantized("Elu <alpha = 0.5>")
    made = _compiled(case)
    assert made.notices
    check_islands(made, case)

    with pytest.raises(AssertionError, match="computes in float32"):
        check_islands(replace(made, notices=()), case)


def test_a_renamed_output_is_seen(quantized: Callable[..., Any]) -> None:
    case = quantized()
    made = _compiled(case)
    check_names(made, case.model)
    case.model.graph.output[0].name = "other"

    with pytest.raises(AssertionError):
        check_names(made, case.model)


@pytest.fixture
def child() -> Iterator[Child]:
    process = Child()
    yield process
    process.close()


def test_an_abort_is_told_and_the_next_graph_runs(
    child: Child, quantized: Callable[..., Any]
) -> None:
    case = quantized()
    data = _compiled(case).data

    with pytest.raises(AssertionError, match="ended its process"):
        child.call(os.abort)
    found = child.run(data, case.sample)

    assert not found.failures
    assert set(found.outputs) == {"AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
