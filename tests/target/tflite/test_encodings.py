"""Integer types, granularities and spellings of Q/DQ: which are absorbed exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from qdq.base.errors import ModelInvalidError, UnsupportedError
from qdq.graph import infer_shapes

# Activation dtype, its zero point, and TFLite's zero point.
ACTIVATIONS = {
    "uint8": ("uint8", 131, "INT8", 3),
    "int8": ("int8", 3, "INT8", 3),
    "uint16": ("uint16", 32768, "INT16", 0),
    "int16": ("int16", 0, "INT16", 0),
}
TEXT = """
g (float[1,3,8,8] x) => (float[1,4,8,8] y) {
  xq = QuantizeLinear (x, sx, zx)
  xd = DequantizeLinear (xq, sx, zx)
  WEIGHT
  c = Conv <pads = [1, 1, 1, 1]> (xd, wd, b)
  yq = QuantizeLinear (c, sy, zy)
  y = DequantizeLinear (yq, sy, zy)
}
"""
FLOAT_WEIGHT = """
  wq = QuantizeLinear <axis = 0> (w, sw, zw)
  wd = DequantizeLinear <axis = 0> (wq, sw, zw)
"""
INTEGER_WEIGHT = "wd = DequantizeLinear <axis = 0> (w, sw, zw)"


@pytest.fixture
def model(parse: Callable[..., Any]) -> Callable[..., Any]:
    """A conv with its Q/DQ, by activation dtype, zero points, and weight."""

    def made(
        dtype: str,
        zero: int,
        *,
        weight: str = "float",
        weight_dtype: Any = np.int8,
        weight_zero: int = 0,
        channels: bool = True,
        text: str = TEXT,
        **constants: Any,
    ) -> Any:
        random = np.random.default_rng(5)
        step = 2.0**-15 if "16" in dtype else 2.0**-7
        scale = np.asarray([0.01, 0.02, 0.005, 0.03] if channels else 0.02, np.float32)
        float_weight = random.uniform(-0.5, 0.5, (4, 3, 3, 3)).astype(np.float32)
        info = ml_dtypes.iinfo(weight_dtype)
        shape = (4, 1, 1, 1) if channels else ()
        integers = np.clip(
            np.rint(float_weight / scale.reshape(shape)) + weight_zero, info.min, info.max
        )
        given = {
            "sx": np.float32(step * 3),
            "zx": np.asarray(zero, dtype),
            "sy": np.float32(step * 5),
            "zy": np.asarray(zero, dtype),
            "sw": scale,
            "zw": np.full(scale.shape, weight_zero).astype(weight_dtype),
            "b": random.standard_normal(4).astype(np.float32),
            "w": float_weight if weight == "float" else integers.astype(weight_dtype),
        }
        body = text.replace("WEIGHT", FLOAT_WEIGHT if weight == "float" else INTEGER_WEIGHT)
        return parse(body, opset=21, **(given | constants))

    return made


@pytest.mark.parametrize("channels", [True, False], ids=["per_channel", "per_tensor"])
@pytest.mark.parametrize("weight", ["float", "integer"])
@pytest.mark.parametrize("dtype", ACTIVATIONS)
def test_every_type_becomes_signed_with_the_same_scale(
    dtype: str,
    weight: str,
    channels: bool,
    model: Callable[..., Any],
    samples: Callable[..., Any],
    check_qdq: Callable[..., Any],
) -> None:
    name, zero, target, target_zero = ACTIVATIONS[dtype]
    built = model(name, zero, weight=weight, channels=channels)

    lite = check_qdq(built, samples(built))

    (kernel,) = [op for op in lite.operators if op.name == "CONV_2D"]
    assert kernel.dtype == target
    initializers = built.graph.initializers
    for tensor, scale in (
        (kernel.inputs[0], "sx"),
        (kernel.inputs[1], "sw"),
        (kernel.outputs[0], "sy"),
    ):
        wanted = initializers[scale].const_value.numpy().reshape(-1)
        np.testing.assert_array_equal(np.asarray(tensor.quantization.scale, np.float32), wanted)
    assert kernel.outputs[0].quantization.zeroPoint == [target_zero]


@pytest.mark.parametrize(
    ("weight_dtype", "zero"),
    [(np.uint8, 128), (ml_dtypes.int4, 0), (ml_dtypes.uint4, 8)],
    ids=["uint8", "int4", "uint4"],
)
def test_weights_of_other_types_are_stored_as_int8(
    weight_dtype: Any,
    zero: int,
    model: Callable[..., Any],
    samples: Callable[..., Any],
    check_qdq: Callable[..., Any],
) -> None:
    built = model("int8", 3, weight="integer", weight_dtype=weight_dtype, weight_zero=zero)

    lite = check_qdq(built, samples(built))

    assert lite.count("CONV_2D") == 1
    assert "CONV_2D:INT8" in lite.names


def test_int32_bias(
    model: Callable[..., Any], samples: Callable[..., Any], check_qdq: Callable[..., Any]
) -> None:
    text = TEXT.replace("(xd, wd, b)", "(xd, wd, bd)").replace(
        "WEIGHT", "WEIGHT\n bd = DequantizeLinear <axis = 0> (b, sb, zb)"
    )
    scale = np.asarray([0.01, 0.02, 0.005, 0.03], np.float32) * np.float32(2.0**-7 * 3)
    integers = np.asarray([100, -2000, 30, 4], np.int32)
    built = model(
        "int8", 3, weight="integer", text=text, b=integers, sb=scale, zb=np.zeros(4, np.int32)
    )

    lite = check_qdq(built, samples(built))

    (kernel,) = [op for op in lite.operators if op.name == "CONV_2D"]
    data = np.asarray(_buffer(lite.model.data, kernel.inputs[2].buffer)).view(np.int32)
    np.testing.assert_array_equal(data, integers)


def _buffer(data: bytes, index: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return np.asarray(schema.Model.GetRootAs(data, 0).Buffers(index).DataAsNumpy())


@pytest.mark.parametrize(("dtype", "zero"), [("int16", 5), ("uint16", 32000)])
def test_asymmetric_16_bits_stay_float(
    dtype: str,
    zero: int,
    model: Callable[..., Any],
    samples: Callable[..., Any],
    lite: Callable[..., Any],
    run: Callable[..., Any],
) -> None:
    built = model(dtype, zero)

    made = lite(built)

    assert all(name.endswith("FLOAT32") for name in made.names)
    assert "'make_c' computes in float32 between integers" in made.model.notices[0]
    assert "16-bit integers have zero point 0 in TFLite" in made.model.notices[0]
    (sample,) = samples(built, count=1)
    np.testing.assert_allclose(made.run(sample)["y"], run(built, sample)["y"], atol=2e-4)


def test_activations_with_a_scale_for_each_channel_stay_float(
    model: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    text = TEXT.replace("(x, sx, zx)", "<axis = 1> (x, sx, zx)", 1)
    text = text.replace("(xq, sx, zx)", "<axis = 1> (xq, sx, zx)")
    text = text.replace("QuantizeLinear (x,", "QuantizeLinear (x,")
    scales = np.asarray([0.01, 0.02, 0.03], np.float32)
    made = lite(model("int8", 3, text=text, sx=scales, zx=np.zeros(3, np.int8)))

    assert "CONV_2D:FLOAT32" in made.names
    assert any("a scale for each channel" in notice for notice in made.model.notices)


def test_weight_zero_point_stays_float(
    model: Callable[..., Any], samples: Callable[..., Any], check_qdq: Callable[..., Any]
) -> None:
    built = model("int8", 3, weight="integer", weight_zero=2)

    lite = check_qdq(built, samples(built), islands=True)

    assert "CONV_2D:FLOAT32" in lite.names
    assert "its weights have a zero point" in lite.model.notices[0]


def test_bias_beyond_32_bits_stays_float(
    model: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    made = lite(model("int8", 3, b=np.asarray([0, 1e9, 0, 0], np.float32)))

    assert "CONV_2D:FLOAT32" in made.names
    assert "does not fit int32" in made.model.notices[0]


def test_negative_scales_are_invalid(model: Callable[..., Any], lite: Callable[..., Any]) -> None:
    with pytest.raises(ModelInvalidError, match="scale is not a positive number"):
        lite(model("int8", 3, sx=np.float32(-1)))


def test_mixed_zero_point_shapes_are_invalid(
    model: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    with pytest.raises(ModelInvalidError, match="zero point has shape"):
        lite(model("int8", 3, zx=np.zeros(3, np.int8)))


def test_ops_on_integers_are_refused(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    model = parse(
        "g (float[1,2,4,4] x) => (float[1,2,2,2] y) { q = QuantizeLinear (x, s, z) "
        "p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (q) "
        "y = DequantizeLinear (p, s, z) }",
        s=np.float32(0.1),
        z=np.int8(0),
    )

    with pytest.raises(UnsupportedError, match="integers of a QuantizeLinear"):
        lite(model)


def test_requantizes_between_different_scales(
    parse: Callable[..., Any], samples: Callable[..., Any], check_qdq: Callable[..., Any]
) -> None:
    model: ir.Model = parse(
        """g (float[1,2,4,4] x) => (float[1,2,2,2] y) {
          xq = QuantizeLinear (x, s, z) xd = DequantizeLinear (xq, s, z)
          p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (xd)
          pq = QuantizeLinear (p, t, u) y = DequantizeLinear (pq, t, u) }""",
        s=np.float32(0.03),
        z=np.int8(3),
        t=np.float32(0.02),
        u=np.int8(-100),
    )
    infer_shapes(model)

    lite = check_qdq(model, samples(model))

    names = lite.names
    assert names.index("MAX_POOL_2D:INT8") < len(names) - 1 - names[::-1].index("QUANTIZE:INT8")
    pool = next(op for op in lite.operators if op.name == "MAX_POOL_2D")
    assert pool.inputs[0].quantization.scale == pool.outputs[0].quantization.scale


@pytest.mark.parametrize(
    ("op", "scales", "dtype"),
    [
        ("Add", (128.0, 1.0, 1.0), "int8"),
        ("Mul", (4.0, 4.0, 1.0), "int8"),
        ("Mul", (4.0, 4.0, 1.0), "int16"),
        ("Sub", (1.0, 8192.0, 1.0), "int16"),
    ],
)
def test_scales_that_overflow_a_kernel_make_a_float_island(
    op: str,
    scales: tuple[float, ...],
    dtype: str,
    parse: Callable[..., Any],
    lite: Callable[..., Any],
) -> None:
    text = f"""g (float[1,4] x, float[1,4] z) => (float[1,4] y) {{
        a = QuantizeLinear (x, s0, zero) b = DequantizeLinear (a, s0, zero)
        c = QuantizeLinear (z, s1, zero) d = DequantizeLinear (c, s1, zero)
        e = {op} (b, d)
        f = QuantizeLinear (e, s2, zero) y = DequantizeLinear (f, s2, zero) }}"""
    steps = {f"s{i}": np.float32(scale) for i, scale in enumerate(scales)}
    finer = {**steps, "s2": np.float32(steps["s2"] * 1.25)}
    zero = np.asarray(0, dtype)

    made = lite(parse(text, opset=21, zero=zero, **steps))
    below = lite(parse(text, opset=21, zero=zero, **finer))

    assert "overflows" in made.model.notices[0]
    assert not below.model.notices


PAIRS = """g (float[2,3,4] x) => (float[2,3,4] y) {
    q = QuantizeLinear <axis = 1> (x, s, z) d = DequantizeLinear <axis = 1> (q, s, z)
    t = Transpose <perm = [0, 2, 1]> (d) n = Neg (t) h = Transpose <perm = [0, 2, 1]> (n)
    r = QuantizeLinear <axis = 1> (h, s, z) y = DequantizeLinear <axis = 1> (r, s, z) }"""


@pytest.mark.parametrize(
    ("dtype", "zero", "scale"),
    [
        ("uint16", 0, 1e-4),
        ("uint16", 65535, 1e-4),
        ("int16", -32768, 1e-4),
        ("int8", [-128, 127, 0], [0.01, 0.02, 0.03]),
        ("uint8", [0, 255, 128], [0.01, 0.02, 0.03]),
        (ml_dtypes.int4, -8, 0.1),
        (ml_dtypes.uint4, 15, 0.1),
    ],
)
def test_pairs_that_tflite_lacks_round_and_saturate_as_they_did(
    dtype: Any,
    zero: Any,
    scale: Any,
    parse: Callable[..., Any],
    lite: Callable[..., Any],
    run: Callable[..., Any],
) -> None:
    # With a zero point at the end of its range, a pair is a Relu, too.
    model = parse(
        PAIRS.replace("Neg (t)", "Mul (t, minus)"),
        opset=21,
        s=np.asarray(scale, np.float32),
        z=np.asarray(zero).astype(dtype),
        minus=np.float32(-1),
    )
    sample = {"x": np.random.default_rng(3).standard_normal((2, 3, 4)).astype(np.float32) * 3}

    made = lite(model)

    assert "rounded as the model does" in made.model.notices[-1]
    wanted = run(model, sample)["y"]
    for delegate in (True, False):
        np.testing.assert_allclose(made.run(sample, delegate=delegate)["y"], wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint16"])
def test_a_dq_that_reads_integers_as_something_else_is_refused(
    dtype: str, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    model = parse(
        "g (float[4] x) => (float[4] y) { q = QuantizeLinear (x, s, z) "
        "d = DequantizeLinear (q, t, z) y = Sigmoid (d) }",
        opset=21,
        s=np.float32(0.1),
        t=np.float32(0.2),
        z=np.asarray(3, dtype),
    )

    with pytest.raises(UnsupportedError, match="not that of 'make_q'"):
        lite(model)
