"""Random graphs: LiteRT beside ONNX Runtime, element by element, and what the file looks like.

Each graph is judged three ways: every operator alone, fed what LiteRT fed it, by the verifier; the
whole, and each part between two values that are given out, by ONNX Runtime on the QDQ graph and a
bound that rounding explains (``random_graphs/bounds.py``); the file by its structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, Phase, given, note, reject, settings
from hypothesis import strategies as st

from qdq.base.errors import UnsupportedError
from qdq.target.interface import InterfaceRequest
from qdq.target.tflite import TfliteModel, compile_tflite
from random_graphs.bounds import FLOAT, bound_model
from random_graphs.child import Child
from random_graphs.drawing import Drawing
from random_graphs.encodings import Quantized, outputs_of, quantize, run_onnx
from random_graphs.graphs import float_graphs
from random_graphs.ports import check_specs, draw_request, results_of, sample_for, snapped
from random_graphs.structure import check_encodings, check_islands, check_names

Array = np.ndarray[Any, Any]

# Float32 rounding of a dequantized number, as a share of it.
EPSILON = 1e-6
# Operators without a verdict: constants that XNNPACK unpacks when it loads, and TFLite's own
# RESIZE_BILINEAR on int8, which XNNPACK replaces.
KNOWN = re.compile("^DEQUANTIZE .*unpacks the constant|^RESIZE_BILINEAR int8")
QUICK = settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    # Graphs are small as they are, and each step of shrinking costs a run.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MEDIUM = settings(QUICK, max_examples=600)


@dataclass(frozen=True)
class FloatCase:
    model: onnx.ModelProto
    request: InterfaceRequest
    sample: dict[str, Array]


@dataclass(frozen=True)
class QuantizedCase:
    quantized: Quantized
    request: InterfaceRequest


@st.composite
def float_cases(draw: st.DrawFn) -> FloatCase:
    g: Drawing = draw(float_graphs())
    outputs = {name: g.shapes[name] for name in outputs_of(g)}
    sample = {n: g.rng.standard_normal(s).astype(np.float32) for n, s in g.inputs.items()}
    return FloatCase(g.model(list(outputs)), draw_request(g, outputs, quantized=False), sample)


@st.composite
def quantized_cases(draw: st.DrawFn) -> QuantizedCase:
    g: Drawing = draw(float_graphs())
    quantized = quantize(g)
    outputs = {o.name: g.shapes[o.name.split("_")[0]] for o in quantized.outputs}
    return QuantizedCase(quantized, draw_request(g, outputs, quantized=True))


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    process = Child()
    yield process
    process.close()


@QUICK
@given(case=float_cases())
def test_floats(case: FloatCase, child: Child) -> None:
    check_float(case, child)


@QUICK
@given(case=quantized_cases())
def test_integers(case: QuantizedCase, child: Child) -> None:
    check_quantized(case, child)


@pytest.mark.medium
@pytest.mark.timeout(900)
@MEDIUM
@given(case=float_cases())
def test_many_floats(case: FloatCase, child: Child) -> None:
    check_float(case, child)


@pytest.mark.medium
@pytest.mark.timeout(900)
@MEDIUM
@given(case=quantized_cases())
def test_many_integers(case: QuantizedCase, child: Child) -> None:
    check_quantized(case, child)


def check_float(case: FloatCase, child: Child) -> None:
    wanted = run_onnx(case.model, case.sample)
    made = compiled(case.model, case.request)
    check_names(made, case.model)
    assert not made.notices

    for kernels, outputs in executed(child, made, case.request, case.sample).items():
        for name, reference in wanted.items():
            assert outputs[name].shape == reference.shape
            largest = float(np.abs(reference).max())
            off = float(np.abs(outputs[name] - reference).max())
            assert off <= FLOAT * largest, f"{name}: {off} off of {largest}, {kernels}"


def check_quantized(case: QuantizedCase, child: Child) -> None:
    quantized = case.quantized
    made = compiled(quantized.model, case.request)
    check_names(made, quantized.model)
    check_specs(made, case.request, quantized)
    check_encodings(made, quantized)
    check_islands(made, quantized)
    sample = snapped(made, quantized.sample)

    for kernels, outputs in executed(child, made, case.request, sample).items():
        known = {o.name: outputs[o.name] for o in quantized.outputs if o.encoding is not None}
        taken = {f"{name}__known": array for name, array in known.items()}
        bounds = run_onnx(bound_model(quantized, known), sample | taken)
        for output in quantized.outputs:
            reference, limit = (bounds[f"{output.name}__{k}"] for k in ("reference", "limit"))
            step = 1.0 if output.encoding is None else output.encoding.scale
            fault = beyond(outputs[output.name], reference, limit, step)
            assert not fault, f"{output.name}: {fault}, {kernels}"


def beyond(found: Array, reference: Array, limit: Array, step: float) -> str:
    """Return where a result is further from its reference than rounding explains, or ""."""
    if found.shape != reference.shape:
        return f"its shape is {found.shape}, not {reference.shape}"
    off = np.abs(found.astype(np.float64) - reference)
    limit = limit * (1 + 1e-4) + EPSILON * np.abs(reference)
    worst = int((off - limit).argmax())
    if off.flat[worst] <= limit.flat[worst]:
        return ""
    return f"{off.flat[worst] / step:.4g} steps off, {limit.flat[worst] / step:.4g} explained"


def compiled(model: onnx.ModelProto, request: InterfaceRequest) -> TfliteModel:
    """Compile, telling the graph if anything fails; what is refused is no case."""
    note(onnx.printer.to_text(model))
    note(str(request))
    try:
        made = compile_tflite(ir.from_proto(model), request)
    except UnsupportedError as error:
        note(str(error))
        reject()
    for notice in made.notices:
        note(notice)
    return made


def executed(
    child: Child, made: TfliteModel, request: InterfaceRequest, sample: dict[str, Array]
) -> dict[str, dict[str, Array]]:
    """Return the results by kernels, in ONNX's form; every operator alone has been right."""
    found = child.run(made.data, sample_for(made, request, sample))
    assert not found.failures, "\n".join(found.failures)
    unknown = [reason for reason in found.unchecked if not KNOWN.search(reason)]
    assert not unknown, unknown
    return {k: results_of(made, request, outputs) for k, outputs in found.outputs.items()}
