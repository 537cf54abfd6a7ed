"""Ops of detection and segmentation networks, float and quantized, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Case:
    """A graph and the TFLite op it becomes; ``island`` True: its quantized form stays float."""

    text: str
    emits: str
    constants: dict[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("int8", "int16")
    lsb: float = 1
    island: bool = False
    count: int = 1
    opset: int = 18


def _image(call: str, emits: str, **rest: Any) -> Case:
    return Case(f"g (float[1,4,6,8] x) => (float[?,?,?,?] y) {{ y = {call} }}", emits, **rest)


def _ints(*items: int) -> Any:
    return np.asarray(items, np.int64)


def _floats(*items: float) -> Any:
    return np.asarray(items, np.float32)


def _normal(*shape: int) -> Any:
    return np.random.default_rng(11).standard_normal(shape).astype(np.float32)


def _resize(attributes: str, scales: Any, emits: str, **rest: Any) -> Case:
    call = f"Resize <{attributes}> (x, , s)"
    return _image(call, emits, constants={"s": scales}, **rest)


def _transposed(attributes: str, weight: Any, **rest: Any) -> Case:
    call = f"ConvTranspose <{attributes}> (x, w, b)"
    group = int(attributes.split("group = ")[1][0]) if "group" in attributes else 1
    constants = {"w": weight, "b": _normal(weight.shape[1] * group)}
    return _image(call, "TRANSPOSE_CONV", constants=constants, **rest)


TWICE, LESS = _floats(1, 1, 2, 2), _floats(1, 1, 0.5, 0.5)
NEAR = 'mode = "nearest", '
LINE = 'mode = "linear", '
CUBE = 'mode = "cubic", '
# A product with a matrix for each of two dims.
MATRIX = {"island": True, "count": 2}
CASES = {
    "max": Case(
        "g (float[1,4,6,8] x, float[1,4,6,8] z) => (float[?,?,?,?] y) { y = Max (x, z) }", "MAXIMUM"
    ),
    "min_three": Case(
        "g (float[1,4,6,8] x, float[8] z) => (float[?,?,?,?] y) { y = Min (x, z, k) }",
        "MINIMUM",
        {"k": _floats(0.4)},
        count=2,
    ),
    "leaky_relu": _image("LeakyRelu <alpha = 0.2> (x)", "LEAKY_RELU"),
    "prelu": _image("PRelu (x, k)", "PRELU", constants={"k": _normal(4, 1, 1)}, dtypes=("int8",)),
    "elu": _image("Elu (x)", "ELU", dtypes=("int8",), lsb=2),
    "elu_alpha": _image("Elu <alpha = 0.5> (x)", "ELU", island=True),
    "reduce_sum": _image("ReduceSum (x, k)", "SUM", constants={"k": _ints(2, 3)}, dtypes=("int8",)),
    "reduce_max": _image("ReduceMax (x, k)", "REDUCE_MAX", constants={"k": _ints(1)}),
    "reduce_min": _image("ReduceMin (x, k)", "REDUCE_MIN", constants={"k": _ints(-1, 2)}),
    "batch_norm": _image(
        "BatchNormalization (x, s, b, m, v)",
        "MUL",
        constants={n: abs(_normal(4)) + 0.1 for n in "sbmv"},
        island=True,
    ),
    "slice": _image(
        "Slice (x, s, e, a)",
        "SLICE",
        constants={"s": _ints(1, -5), "e": _ints(3, -1), "a": _ints(1, 3)},
    ),
    "slice_steps": _image(
        "Slice (x, s, e, a, t)",
        "STRIDED_SLICE",
        constants={"s": _ints(0, 1), "e": _ints(99, 6), "a": _ints(2, 3), "t": _ints(2, 3)},
    ),
    "slice_back": _image(
        "Slice (x, s, e, a, t)",
        "STRIDED_SLICE",
        constants={
            "s": _ints(-1, 6),
            "e": _ints(-(2**40), 1),
            "a": _ints(1, 3),
            "t": _ints(-1, -2),
        },
    ),
    "split": Case(
        "g (float[1,4,6,8] x) => (float[?,?,?,?] y, float[?,?,?,?] z) "
        "{ y, z = Split <axis = 1> (x, k) }",
        "SLICE",
        {"k": _ints(1, 3)},
        count=2,
    ),
    "split_even": Case(
        "g (float[1,4,6,8] x) => (float[?,?,?,?] y, float[?,?,?,?] z) "
        "{ y, z = Split <axis = -1, num_outputs = 2> (x) }",
        "SLICE",
        count=2,
    ),
    "depth_to_space": _image(
        "DepthToSpace <blocksize = 2> (x)", "DEPTH_TO_SPACE", dtypes=("int8",)
    ),
    "depth_to_space_crd": Case(
        "g (float[1,8,3,4] x) => (float[?,?,?,?] y) "
        '{ y = DepthToSpace <blocksize = 2, mode = "CRD"> (x) }',
        "DEPTH_TO_SPACE",
        dtypes=("int8",),
    ),
    "space_to_depth": _image(
        "SpaceToDepth <blocksize = 2> (x)", "SPACE_TO_DEPTH", dtypes=("int8",)
    ),
    "resize_nearest": _resize(
        NEAR + 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
        TWICE,
        "RESIZE_NEAREST_NEIGHBOR",
    ),
    "resize_nearest_default": _resize(NEAR + "antialias = 0", TWICE, "RESIZE_NEAREST_NEIGHBOR"),
    "resize_nearest_less": _resize(
        NEAR + 'nearest_mode = "floor"', LESS, "RESIZE_NEAREST_NEIGHBOR"
    ),
    "resize_nearest_ceil": _resize(
        NEAR + 'coordinate_transformation_mode = "asymmetric", nearest_mode = "ceil"',
        TWICE,
        "GATHER",
        count=2,
    ),
    "resize_nearest_channels": _resize(NEAR + "antialias = 0", _floats(1, 2, 1, 1), "GATHER"),
    "resize_linear": _resize(LINE + "antialias = 0", TWICE, "RESIZE_BILINEAR"),
    "resize_linear_odd": _image(
        f'Resize <{LINE} coordinate_transformation_mode = "pytorch_half_pixel"> (x, , , s)',
        "RESIZE_BILINEAR",
        constants={"s": _ints(1, 4, 9, 5)},
        dtypes=("int8",),
    ),
    "resize_linear_corners": _resize(
        LINE + 'coordinate_transformation_mode = "align_corners"',
        TWICE,
        "RESIZE_BILINEAR",
        dtypes=("int8",),
    ),
    "resize_linear_asymmetric": _resize(
        LINE + 'coordinate_transformation_mode = "asymmetric"', TWICE, "RESIZE_BILINEAR"
    ),
    "resize_linear_scale": _resize(
        LINE + "antialias = 0", _floats(1, 1, 0.45, 0.7), "FULLY_CONNECTED", **MATRIX
    ),
    "resize_antialias": _resize(LINE + "antialias = 1", LESS, "FULLY_CONNECTED", **MATRIX),
    "resize_cubic": _resize(CUBE + "antialias = 0", TWICE, "FULLY_CONNECTED", **MATRIX),
    "resize_cubic_outside": _resize(
        CUBE + "cubic_coeff_a = -0.5, exclude_outside = 1",
        _floats(1, 1, 1.6, 0.8),
        "FULLY_CONNECTED",
        **MATRIX,
    ),
    "resize_cubic_antialias": _resize(CUBE + "antialias = 1", LESS, "FULLY_CONNECTED", **MATRIX),
    "resize_crop": _image(
        f'Resize <{LINE} coordinate_transformation_mode = "tf_crop_and_resize", '
        "extrapolation_value = 3.0> (x, r, , s)",
        "FULLY_CONNECTED",
        constants={"r": _floats(0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7), "s": _ints(1, 4, 3, 3)},
        **MATRIX,
    ),
    "resize_aspect": _image(
        f'Resize <{NEAR} keep_aspect_ratio_policy = "not_larger", axes = [2, 3]> (x, , , s)',
        "RESIZE_NEAREST_NEIGHBOR",
        constants={"s": _ints(12, 20)},
    ),
    "resize_volume": Case(
        f"g (float[1,2,3,4,5] x) => (float[?,?,?,?,?] y) "
        f"{{ y = Resize <{LINE} antialias = 0> (x, , s) }}",
        "FULLY_CONNECTED",
        {"s": _floats(1, 1, 2, 1.5, 2)},
        island=True,
        count=3,
    ),
    "max_pool_dilated": _image(
        "MaxPool <kernel_shape = [2, 3], dilations = [2, 2], strides = [1, 2], "
        "pads = [1, 2, 0, 2]> (x)",
        "MAXIMUM",
        count=3,
    ),
    "max_pool_volume": Case(
        "g (float[1,2,5,6,7] x) => (float[?,?,?,?,?] y) { y = MaxPool <kernel_shape = [2, 2, 3], "
        "strides = [2, 1, 2], pads = [0, 1, 1, 1, 0, 1], ceil_mode = 1> (x) }",
        "MAXIMUM",
        count=4,
    ),
    "max_pool_padding_alone": _image(
        "MaxPool <kernel_shape = [2, 2], strides = [3, 3], pads = [0, 0, 1, 1], ceil_mode = 1> (x)",
        "MAX_POOL_2D",
    ),
    "average_pool_dilated": _image(
        "AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 1], dilations = [2, 1], "
        "strides = [1, 2], ceil_mode = 1> (x)",
        "ADD",
        island=True,
        count=2,
        opset=19,
    ),
    "average_pool_volume": Case(
        "g (float[1,2,5,6,7] x) => (float[?,?,?,?,?] y) "
        "{ y = AveragePool <kernel_shape = [2, 2, 3], strides = [2, 1, 2], "
        "pads = [0, 1, 1, 1, 0, 1]> (x) }",
        "ADD",
        island=True,
        count=4,
    ),
    "pad_crop": _image(
        "Pad (x, k, v)",
        "PADV2",
        constants={"k": _ints(0, -1, 2, 0, 0, 0, -3, -4), "v": np.float32(0.5)},
    ),
    "pad_edge_crop": _image(
        'Pad <mode = "edge"> (x, k)',
        "GATHER",
        constants={"k": _ints(0, 0, 2, -1, 0, 0, -3, 2)},
        count=2,
    ),
    "pad_edge": _image(
        'Pad <mode = "edge"> (x, k)',
        "GATHER",
        constants={"k": _ints(0, 1, 2, 0, 0, 0, 1, 3)},
        count=3,
    ),
    "pad_wrap": _image(
        'Pad <mode = "wrap"> (x, k)',
        "GATHER",
        constants={"k": _ints(0, 0, 2, 0, 0, 0, 1, 3)},
        count=2,
    ),
    "pad_reflect_volume": Case(
        'g (float[1,2,5,6,7] x) => (float[?,?,?,?,?] y) { y = Pad <mode = "reflect"> (x, k) }',
        "GATHER",
        {"k": _ints(0, 0, 2, 0, 1, 0, 0, 1, 0, 3)},
        count=2,
    ),
    "resize_line": Case(
        'g (float[1,4,6] x) => (float[?,?,?] y) { y = Resize <mode = "linear"> (x, , s) }',
        "RESIZE_BILINEAR",
        {"s": _floats(1, 1, 2)},
    ),
    "transposed": _transposed("strides = [2, 2]", _normal(4, 5, 2, 2)),
    "transposed_same": _transposed("strides = [2, 2], pads = [1, 1, 1, 1]", _normal(4, 5, 4, 4)),
    "transposed_cropped": _transposed(
        "strides = [2, 2], pads = [0, 1, 2, 1], output_padding = [1, 0]", _normal(4, 5, 3, 3)
    ),
    "transposed_output_padding": _transposed(
        "strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]", _normal(4, 3, 3, 3)
    ),
    "transposed_dilated": _transposed("dilations = [2, 1]", _normal(4, 5, 2, 3)),
    "transposed_groups": _transposed(
        "group = 2, strides = [2, 1]", _normal(4, 3, 2, 2), island=True
    ),
    "transposed_depthwise": _transposed(
        "group = 4, strides = [2, 2]", _normal(4, 1, 2, 2), island=True
    ),
    "transposed_uneven": _transposed("strides = [3, 2], pads = [1, 2, 1, 2]", _normal(4, 5, 3, 3)),
    "transposed_upper": _transposed(
        'strides = [2, 2], auto_pad = "SAME_UPPER"', _normal(4, 5, 3, 3)
    ),
    "transposed_auto": _transposed(
        'strides = [2, 2], auto_pad = "SAME_LOWER"', _normal(4, 5, 3, 3)
    ),
    "transposed_shape": _transposed(
        "strides = [2, 2], output_shape = [12, 16]", _normal(4, 5, 3, 3)
    ),
    "transposed_line": Case(
        "g (float[1,4,6] x) => (float[?,?,?] y) "
        "{ y = ConvTranspose <strides = [2], pads = [1, 1]> (x, w) }",
        "TRANSPOSE_CONV",
        {"w": _normal(4, 5, 4)},
    ),
}
INTEGER = [(name, dtype) for name in CASES for dtype in ("int8", "int16")]


@pytest.mark.parametrize("name", CASES)
def test_float(name: str, parse: Callable[..., Any], check_float: Callable[..., Any]) -> None:
    case = CASES[name]

    lite = check_float(parse(case.text, opset=case.opset, **case.constants))

    assert lite.count(case.emits) == case.count, lite.names


@pytest.mark.parametrize(("name", "dtype"), INTEGER)
def test_integer(
    name: str, dtype: str, parse: Callable[..., Any], check_integer: Callable[..., Any]
) -> None:
    case = CASES[name]
    island = case.island or dtype not in case.dtypes
    model = parse(case.text, opset=case.opset, **case.constants)

    lite = check_integer(model, dtype, lsb=case.lsb, islands=island)

    floats = [n for n in lite.names if n.endswith(":FLOAT32") and not n.startswith("DEQUANTIZE")]
    assert bool(floats) == island, lite.names


@pytest.mark.parametrize(
    ("to", "dtype"),
    [("INT32", np.int32), ("INT64", np.int64), ("BOOL", np.bool_), ("FLOAT", np.float32)],
)
def test_cast(to: str, dtype: Any, parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    code = {"INT32": 6, "INT64": 7, "BOOL": 9, "FLOAT": 1}[to]
    out = {"INT32": "int32", "INT64": "int64", "BOOL": "bool", "FLOAT": "float"}[to]
    text = f"g (float[2,3] x) => ({out}[?,?] y) {{ m = Relu (x) y = Cast <to = {code}> (m) }}"
    model = parse(text, opset=18)
    x = np.asarray([[-1.5, 0, 0.5], [1.5, 2.9, 100]], np.float32)

    found = lite(model).run({"x": x})["y"]

    np.testing.assert_array_equal(found, np.maximum(x, 0).astype(dtype))
    assert found.dtype == dtype
