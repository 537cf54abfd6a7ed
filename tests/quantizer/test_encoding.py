"""Encodings against ONNX's own QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from qdq.quantizer.encoding import (
    MIN_RANGE,
    Encoding,
    asymmetric_encoding,
    fake_quantize,
    quantize_values,
    symmetric_encoding,
    weight_encoding,
)

finite = st.floats(-(2.0**99), 2.0**99, width=32)


def by_onnx(values, encoding):
    """Return the integers and reals that ONNX's reference evaluator gives."""
    axis = "" if encoding.axis is None else f"<axis = {encoding.axis}>"
    dims = ",".join(map(str, values.shape))
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[{dims}] x) => '
        f"({encoding.dtype}[{dims}] q, float[{dims}] y) {{"
        f" q = QuantizeLinear {axis} (x, s, z) y = DequantizeLinear {axis} (q, s, z) }}"
    )
    shape = () if encoding.axis is None else (-1,)
    scale = np.asarray(encoding.scale, np.float32).reshape(shape)
    zero_point = np.asarray(encoding.zero_point, encoding.dtype).reshape(shape)
    model.graph.initializer.append(numpy_helper.from_array(scale, "s"))
    model.graph.initializer.append(numpy_helper.from_array(zero_point, "z"))
    return ReferenceEvaluator(model).run(None, {"x": values})


ENCODINGS = {
    "uint8": asymmetric_encoding(-1.3, 2.9, bits=8),
    "uint16": asymmetric_encoding(-1.3, 2.9, bits=16),
    "uint8 symmetric": symmetric_encoding(2.2, bits=8),
    "uint16 symmetric": symmetric_encoding(2.2, bits=16),
    "int8": weight_encoding(np.float32([0.02]), bits=8, axis=None),
    "int8 axis 0": weight_encoding(np.float32([0.02, 0.001, 0.5]), bits=8, axis=0),
    "int8 axis 1": weight_encoding(np.float32([0.02, 0.001, 0.5, 1.0]), bits=8, axis=1),
}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_equals_onnx(encoding):
    values = np.random.default_rng(0).normal(0, 1.5, (3, 4, 50)).astype(np.float32)
    # Halves: rounding is to even.
    steps = np.arange(-25, 25, dtype=np.float32) + np.float32(0.5)
    values[0, 0] = steps * np.float32(encoding.scale[0])
    values[1, 1, :2] = 100, -100
    with warnings.catch_warnings():
        # The reference evaluator casts before it saturates.
        warnings.simplefilter("ignore", RuntimeWarning)
        integers, reals = by_onnx(values, encoding)
    np.testing.assert_array_equal(quantize_values(values, encoding), integers)
    np.testing.assert_array_equal(fake_quantize(values, encoding), reals)
    assert fake_quantize(values, encoding).dtype == np.float32


@given(low=finite, high=finite, bits=st.sampled_from([8, 16]))
@settings(max_examples=200, deadline=None)
def test_asymmetric_represents_zero_and_the_range(low, high, bits):
    low, high = min(low, high), max(low, high)
    encoding = asymmetric_encoding(low, high, bits=bits)
    scale = encoding.scale[0]
    assert np.float32(scale) == scale
    assert scale > 0
    assert encoding.qmin <= encoding.zero_point[0] <= encoding.qmax
    assert fake_quantize(np.zeros(1, np.float32), encoding)[0] == 0.0
    reached_low, reached_high = encoding.range
    slack = 0.5001 * scale
    assert reached_low <= min(low, 0) + slack
    assert reached_high >= max(high, 0) - slack


@given(magnitude=st.floats(0, 2.0**99, width=32), bits=st.sampled_from([8, 16]))
def test_symmetric_has_its_zero_point_in_the_middle(magnitude, bits):
    encoding = symmetric_encoding(magnitude, bits=bits)
    assert encoding.zero_point == (1 << (bits - 1),)
    assert not encoding.signed
    low, high = encoding.range
    assert high >= magnitude * (1 - 1e-6)
    assert -low >= high
    assert fake_quantize(np.zeros(1, np.float32), encoding)[0] == 0.0


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (1e-9, 2e-9), (-3e-7, 0.0)])
def test_narrow_ranges_are_widened(low, high):
    assert asymmetric_encoding(low, high, bits=8).scale[0] == pytest.approx(MIN_RANGE / 255)
    assert symmetric_encoding(max(-low, high), bits=8).scale[0] == pytest.approx(MIN_RANGE / 127)


@pytest.mark.parametrize(
    ("low", "high", "zero_point"), [(0, 6, 0), (-6, 0, 255), (3, 6, 0), (-6, -3, 255)]
)
def test_one_sided_ranges(low, high, zero_point):
    encoding = asymmetric_encoding(low, high, bits=8)
    assert encoding.zero_point == (zero_point,)
    assert encoding.scale[0] == np.float32(6 / 255)


@pytest.mark.parametrize(
    ("bits", "signed", "dtype", "limits"),
    [
        (8, False, "uint8", (0, 255)),
        (8, True, "int8", (-128, 127)),
        (16, False, "uint16", (0, 65535)),
        (16, True, "int16", (-32768, 32767)),
    ],
)
def test_types(bits, signed, dtype, limits):
    encoding = Encoding((0.5,), (0,), bits, signed)
    assert encoding.dtype == dtype
    assert (encoding.qmin, encoding.qmax) == limits
    info = np.iinfo(dtype)
    assert limits == (info.min, info.max)


def test_json_form():
    per_tensor = asymmetric_encoding(-1, 4, bits=8).to_dict()
    assert per_tensor == {
        "dtype": "uint8",
        "scale": float(np.float32(5 / 255)),
        "zero_point": 51,
        "axis": None,
    }
    per_channel = weight_encoding(np.float32([0.5, 0.25]), bits=8, axis=1).to_dict()
    assert per_channel == {"dtype": "int8", "scale": [0.5, 0.25], "zero_point": [0, 0], "axis": 1}
