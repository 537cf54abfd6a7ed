"""Ops on numbers that no quantizer made: each computes what ONNX says, or is refused by name.

TFLite's kernels of small integers are for quantized tensors; on plain ones some abort the process
and some compute with a scale of zero.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from qdq.base.errors import UnsupportedError, VerificationError
from qdq.target.tflite.rules import PLAIN_DTYPES, operator_row, operator_rows
from qdq.target.tflite.verify import verify_tflite
from qdq.target.tflite.widen import WIDER, computing_dtype

_NAMES = {"float32": "float", "float64": "double"}
_FLOATS = ("float32", "float16", "bfloat16", "float64")
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")
_WIDE = ("float64", "int64")


def _ints(*items: int) -> Any:
    return np.asarray(items, np.int64)


TWO = "(x, z)"
# Op and call; constants beside x and z; the dtypes that are refused.
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "Add": (f"Add {TWO}", {}, ("float64", "bool")),
    "Sub": (f"Sub {TWO}", {}, ("float64", "bool")),
    "Mul": (f"Mul {TWO}", {}, ("float64", "bool")),
    "Div": (f"Div {TWO}", {}, ("float64", "bool", "uint32", "int64")),
    "Max": (f"Max {TWO}", {}, ("float64", "bool")),
    "Min": (f"Min {TWO}", {}, ("float64", "bool")),
    "Relu": ("Relu (x)", {}, ("float64", "bool")),
    "Concat": (f"Concat <axis = 1> {TWO}", {}, ("float64",)),
    "Slice": ("Slice (x, a, c)", {"a": _ints(0, 1), "c": _ints(2, 3)}, ()),
    "Strided": (
        "Slice (x, a, c, d, e)",
        {"a": _ints(1), "c": _ints(6), "d": _ints(3), "e": _ints(2)},
        (),
    ),
    "Pad": ("Pad (x, a)", {"a": _ints(0, 0, 1, 0, 0, 0, 0, 2)}, ("float64",)),
    "Edge": ('Pad <mode = "edge"> (x, a)', {"a": _ints(0, 0, 1, 0, 0, 0, 0, 2)}, ("float64",)),
    "Reflect": ('Pad <mode = "reflect"> (x, a)', {"a": _ints(0, 0, 1, 0, 0, 0, 0, 2)}, ()),
    "Reshape": ("Reshape (x, a)", {"a": _ints(4, 6, 6, 2)}, ()),
    "Transpose": ("Transpose <perm = [1, 3, 0, 2]> (x)", {}, ()),
    "ReduceMax": ("ReduceMax (x, a)", {"a": _ints(2, 3)}, ("float64",)),
    "ReduceMin": ("ReduceMin (x, a)", {"a": _ints(1)}, ("float64",)),
    "ReduceSum": ("ReduceSum (x, a)", {"a": _ints(1)}, ("float64", "bool")),
    "MaxPool": (
        "MaxPool <kernel_shape = [2, 2]> (x)",
        {},
        ("float64", "bool", "int32", "uint16", "uint32", "int64"),
    ),
    "DepthToSpace": ("DepthToSpace <blocksize = 2> (x)", {}, ("float64",)),
    "SpaceToDepth": ("SpaceToDepth <blocksize = 2> (x)", {}, ("float64",)),
    "Crd": ('DepthToSpace <blocksize = 2, mode = "CRD"> (x)', {}, ("float64",)),
    "Resize": (
        'Resize <mode = "nearest"> (x, , a)',
        {"a": np.asarray([1, 1, 2, 2], np.float32)},
        _WIDE,
    ),
}
# ONNX has no such op on these dtypes.
ILLEGAL = {
    "MaxPool": {"bool", "int32", "uint16", "uint32", "int64", "int16", "bfloat16"},
    "ReduceMax": {"int16", "uint16"},
    "ReduceMin": {"int16", "uint16"},
    "ReduceSum": {"int8", "uint8", "int16", "uint16"},
    "Relu": {"uint8", "uint16", "uint32"},
}
PAIRS = [
    (name, dtype)
    for name in CASES
    for dtype in PLAIN_DTYPES
    if dtype not in ILLEGAL.get(name, set()) and not (dtype == "bool" and len(CASES[name][2]) > 1)
]


def _numbers(dtype: str, shape: tuple[int, ...], seed: str) -> Any:
    """Random numbers over the whole range of an integer, so that sums and products wrap."""
    random = np.random.default_rng(zlib.crc32(seed.encode()))
    if dtype == "bool":
        return random.random(shape) < 0.5
    if dtype in _FLOATS:
        return random.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    numbers = random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    # No quotient is undefined: neither by 0 nor, which overflows, by -1.
    return np.where((numbers == 0) | (numbers == np.array(-1).astype(dtype)), 3, numbers).astype(
        dtype
    )


def _expected(name: str, model: ir.Model, sample: dict[str, Any]) -> Any:
    if name == "MaxPool":
        # onnx's reference pads with NaN, of which there is none in integers.
        windows = np.lib.stride_tricks.sliding_window_view(sample["x"], (2, 2), axis=(2, 3))
        return windows.max(axis=(-2, -1))
    with np.errstate(over="ignore"):
        return ReferenceEvaluator(ir.serde.serialize_model(model)).run(None, sample)[0]


@pytest.mark.parametrize(("name", "dtype"), PAIRS)
def test_an_op_computes_on_plain_numbers_or_is_refused(
    name: str, dtype: str, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    call, constants, refused = CASES[name]
    kind = _NAMES.get(dtype, dtype)
    with_z = f", {kind}[2,4,6,6] z" if "z" in call else ""
    text = f"g ({kind}[2,4,6,6] x{with_z}) => ({kind}[?,?,?,?] y) {{ y = {call} }}"
    model = parse(text, opset=18, **constants)
    if dtype in refused:
        with pytest.raises(UnsupportedError, match=f"has no kernel for {dtype}"):
            lite(model)
        return
    inputs = ("x", "z") if with_z else ("x",)
    sample = {n: _numbers(dtype, (2, 4, 6, 6), f"{name} {dtype} {n}") for n in inputs}

    made = lite(model)

    wanted = _expected(name, model, sample)
    for delegate in (True, False):
        found = made.run(sample, delegate=delegate)["y"]
        assert found.dtype == wanted.dtype
        exact = dtype not in _FLOATS
        tolerance = (
            0 if exact else {"float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}.get(dtype, 0)
        )
        np.testing.assert_allclose(
            found.astype(np.float64), wanted.astype(np.float64), rtol=tolerance, atol=tolerance
        )
        if exact:
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
@pytest.mark.parametrize(
    "bounds", [(0, None), (None, 6), (0, 6), (-1, 1), (-100, 100), (None, None)], ids=str
)
def test_clip_of_integers(
    bounds: tuple[int | None, int | None],
    dtype: str,
    parse: Callable[..., Any],
    lite: Callable[..., Any],
) -> None:
    given = {n: np.asarray(b, dtype) for n, b in zip("ac", bounds, strict=True) if b is not None}
    names = ["x", *(n if n in given else "" for n in "ac")]
    text = (
        f"g ({dtype}[5,7] x) => ({dtype}[5,7] y) {{ y = Clip ({', '.join(names).rstrip(', ')}) }}"
    )
    x = _numbers(dtype, (5, 7), dtype)
    x[0] = np.arange(-3, 4)

    made = lite(parse(text, opset=18, **given))

    for delegate in (True, False):
        wanted = np.clip(x, *(given.get(n) for n in "ac")) if given else x
        np.testing.assert_array_equal(made.run({"x": x}, delegate=delegate)["y"], wanted)


def test_bounds_of_64_bits_are_exact(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    """They do not pass through a float."""
    low, high = np.int64(-(2**62) - 1), np.int64(2**62 + 1)
    x = np.asarray([low - 1, low, 0, high, high + 1], np.int64)
    text = "g (int64[5] x) => (int64[5] y) { y = Clip (x, a, c) }"

    found = lite(parse(text, opset=18, a=low, c=high)).run({"x": x})["y"]

    np.testing.assert_array_equal(found, np.clip(x, low, high))


def test_a_wider_dtype_holds_all_values() -> None:
    for narrow, wide in WIDER.items():
        if narrow in _INTEGERS:
            assert np.iinfo(wide).min <= np.iinfo(narrow).min
            assert np.iinfo(wide).max >= np.iinfo(narrow).max
    assert ml_dtypes.finfo("bfloat16").max <= np.finfo("float32").max


def test_rows_name_dtypes_that_litert_has() -> None:
    for row in operator_rows().values():
        assert set(row.plain) <= set(PLAIN_DTYPES)
        assert set(row.via) <= set(PLAIN_DTYPES) - set(row.plain)
        assert set(row.via.values()) <= set(row.plain)


def test_products_that_overflow_32_bits_are_taken_in_64() -> None:
    assert computing_dtype(operator_row("MUL"), "uint16") == "int64"
    assert computing_dtype(operator_row("ADD"), "uint16") == "int32"
    assert computing_dtype(operator_row("CONV_2D"), "int8") is None


HALVES = {
    "conv": ("Conv <pads = [1, 1, 1, 1]> (x, w, b)", {"w": (3, 4, 3, 3), "b": (3,)}),
    "conv_transpose": (
        "ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)",
        {"w": (4, 3, 4, 4)},
    ),
    "batch_norm": (
        "BatchNormalization (r, s, b, m, v)",
        {"s": (4,), "b": (4,), "m": (4,), "v": (4,)},
    ),
    "prelu": ("PRelu (x, w)", {"w": (4, 1, 1)}),
    "matmul": ("MatMul (x, w)", {"w": (6, 5)}),
    "max_pool": ("MaxPool <kernel_shape = [2, 2], pads = [1, 1, 0, 0]> (x)", {}),
    "average_pool": ("AveragePool <kernel_shape = [2, 2], pads = [1, 1, 0, 0]> (x)", {}),
    "softmax": ("Softmax <axis = 1> (x)", {}),
    "elu": ("Elu <alpha = 0.5> (x)", {}),
    "resize": ('Resize <mode = "linear"> (x, , k)', {}),
    "clip": ("Clip (x, l, u)", {}),
}


@pytest.mark.parametrize("name", HALVES)
def test_half_precision(
    name: str, parse: Callable[..., Any], lite: Callable[..., Any], run: Callable[..., Any]
) -> None:
    call, shapes = HALVES[name]
    random = np.random.default_rng(3)
    constants = {n: random.uniform(0.1, 1, s).astype(np.float16) for n, s in shapes.items()}
    if name == "resize":
        constants["k"] = np.asarray([1, 1, 2, 2], np.float32)
    if name == "clip":
        constants |= {"l": np.float16(-0.3), "u": np.float16(0.5)}
    text = f"g (float16[2,4,6,6] x) => (float16[?,?,?,?] y) {{ r = Relu (x) y = {call} }}"
    model = parse(text, opset=18, **constants)
    sample = {"x": random.standard_normal((2, 4, 6, 6)).astype(np.float16)}

    made = lite(model)

    wanted = run(model, sample)["y"].astype(np.float32)
    for delegate in (True, False):
        found = made.run(sample, delegate=delegate)["y"]
        assert found.dtype == np.float16
        np.testing.assert_allclose(
            found.astype(np.float32), wanted, atol=2e-3 * float(np.abs(wanted).max())
        )


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_quantized_half_precision_is_integer(
    dtype: str, parse: Callable[..., Any], lite: Callable[..., Any], run: Callable[..., Any]
) -> None:
    step = np.float16(2.0**-5 if dtype == "int8" else 2.0**-10)
    model = parse(
        """g (float16[1,3,8,8] x) => (float16[?,?,?,?] y) {
          xq = QuantizeLinear (x, s, z) xd = DequantizeLinear (xq, s, z)
          wd = DequantizeLinear (w, s, o)
          c = Conv (xd, wd, b) r = Relu (c)
          rq = QuantizeLinear (r, s, z) rd = DequantizeLinear (rq, s, z)
          y = Tanh (rd) }""",
        opset=21,
        s=step,
        z=np.asarray(0, dtype),
        o=np.int8(0),
        w=np.random.default_rng(1).integers(-9, 9, (4, 3, 3, 3)).astype(np.int8),
        b=np.asarray([0.5, -0.5, 0.25, 0], np.float16),
    )
    sample = {"x": np.random.default_rng(2).standard_normal((1, 3, 8, 8)).astype(np.float16)}

    made = lite(model)

    assert f"CONV_2D:{dtype.upper()}" in made.names
    wanted = run(model, sample)["y"].astype(np.float32)
    for delegate in (True, False):
        found = made.run(sample, delegate=delegate)["y"]
        assert found.dtype == np.float16
        assert np.abs(found.astype(np.float32) - wanted).max() <= float(step) * 1.01 + 1e-3


def _castable(source: str, target: str) -> Any:
    """Numbers of one dtype whose cast to another is defined; integers wrap around."""
    if source == "bool":
        return np.asarray([True, False, True])
    if source in _INTEGERS:
        info = np.iinfo(source)
        return np.asarray([info.min, info.max, 0, 1, 3, 77, 100], source)
    numbers = np.asarray([0, -0.0, 0.49, 1.5, 2.75, 100.4, 127], np.float64)
    if target == "bool" or target in _FLOATS:
        # Halves of a step of the coarsest float, too, so that rounding shows.
        fine = [1 / 3, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-11, 1 + 3 * 2.0**-11]
        numbers = np.concatenate([numbers, -numbers, fine])
    elif not target.startswith("u"):
        numbers = np.concatenate([numbers, -numbers])
    return numbers.astype(source)


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(PLAIN_DTYPES, 2)))
def test_cast(
    source: str, target: str, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    x = _castable(source, target)
    kinds = [_NAMES.get(dtype, dtype) for dtype in (source, target)]
    code = int(ir.DataType.from_numpy(np.dtype(target)))
    text = (
        f"g ({kinds[0]}[{x.size}] x) => ({kinds[1]}[{x.size}] y) {{ y = Cast <to = {code}> (x) }}"
    )

    made = lite(parse(text, opset=18))

    with np.errstate(over="ignore"):
        wanted = x.astype(target)
    for delegate in (True, False):
        found = made.run({"x": x}, delegate=delegate)["y"]
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found.astype(np.float64), wanted.astype(np.float64))


def test_a_source_that_does_not_run_is_no_fault_of_the_model(
    parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    """ONNX Runtime adds no bfloat16, TFLite does."""
    model = parse("g (bfloat16[4] x) => (bfloat16[4] y) { y = Add (x, x) }", opset=18)
    made = lite(model)

    with pytest.raises(VerificationError, match=r"Nothing says what .* Add"):
        verify_tflite(made.model.data, float_model=model)
