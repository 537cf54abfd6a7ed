"""One call of each ONNX operator whose taking by the HTP compiler is measured."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["CALLS", "FLAGS", "OPSETS", "OUTPUTS"]

IMAGE = (1, 4, 6, 6)


def floats(*shape: int) -> np.ndarray:
    return np.linspace(0.1, 1.0, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


ELEMENTWISE = ("Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
UNARY = """
Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid
HardSwish Identity LeakyRelu Log LogSoftmax Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid
Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Dropout Flatten
GlobalAveragePool GlobalMaxPool Hardmax LpNormalization Transpose Trilu Det EyeLike IsInf IsNaN
NonZero ArgMax ArgMin Shape Size MeanVarianceNormalization RandomNormalLike RandomUniformLike
Bernoulli
""".split()  # noqa: SIM905 - one op a line would be 62 lines
REDUCED = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
REDUCTIONS = [f"Reduce{it}" for it in REDUCED.split()]
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
# Op -> (call on x, constants, shape of x).
CALLS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    **{op: (f"{op} (x)", {}, IMAGE) for op in UNARY},
    **{op: (f"{op} (x, c)", {"c": floats(1, 4, 1, 1)}, IMAGE) for op in ELEMENTWISE},
    **{op: (f"{op} (x, c)", {"c": floats(1)}, IMAGE) for op in COMPARISONS},
    **{op: (f"{op} <keepdims = 1> (x, axes)", {"axes": ints(3)}, IMAGE) for op in REDUCTIONS},
    "ArgMax": ("ArgMax <axis = 3> (x)", {}, IMAGE),
    "ArgMin": ("ArgMin <axis = 3> (x)", {}, IMAGE),
    "AffineGrid": ("AffineGrid (x, size)", {"size": ints(1, 4, 6, 6)}, (1, 2, 3)),
    "Attention": ("Attention (x, x, x)", {}, IMAGE),
    "AveragePool": ("AveragePool <kernel_shape = [2, 2]> (x)", {}, IMAGE),
    "BatchNormalization": (
        "BatchNormalization (x, s, b, m, v)",
        {"s": floats(4), "b": floats(4), "m": floats(4), "v": floats(4)},
        IMAGE,
    ),
    "BitShift": ('BitShift <direction = "LEFT"> (x, c)', {"c": np.uint8(1)}, IMAGE),
    "Cast": ("Cast <to = 6> (x)", {}, IMAGE),
    "CenterCropPad": ("CenterCropPad <axes = [2, 3]> (x, size)", {"size": ints(4, 8)}, IMAGE),
    "Clip": ("Clip (x, low, high)", {"low": np.float32(0.2), "high": np.float32(0.7)}, IMAGE),
    "Col2Im": ("Col2Im (x, size, block)", {"size": ints(5, 5), "block": ints(1, 5)}, (1, 5, 5)),
    "Compress": (
        "Compress <axis = 1> (x, keep)",
        {"keep": np.array([True, False, True, True])},
        IMAGE,
    ),
    "Concat": ("Concat <axis = 1> (x, c)", {"c": floats(1, 2, 6, 6)}, IMAGE),
    "Conv": ("Conv (x, w, b)", {"w": floats(6, 4, 3, 3), "b": floats(6)}, IMAGE),
    "ConvTranspose": ("ConvTranspose (x, w, b)", {"w": floats(4, 6, 3, 3), "b": floats(6)}, IMAGE),
    "CumSum": ("CumSum (x, axis)", {"axis": np.int64(2)}, IMAGE),
    "DeformConv": (
        "DeformConv (x, w, o)",
        {"w": floats(6, 4, 3, 3), "o": floats(1, 18, 4, 4)},
        IMAGE,
    ),
    "DepthToSpace": ("DepthToSpace <blocksize = 2> (x)", {}, IMAGE),
    "DFT": ("DFT (x)", {}, (1, 6, 6, 1)),
    "Expand": ("Expand (x, size)", {"size": ints(2, 4, 6, 6)}, (1, 4, 6, 6)),
    "GRU": (
        "GRU <hidden_size = 5> (x, w, r)",
        {"w": floats(1, 15, 4), "r": floats(1, 15, 5)},
        (3, 1, 4),
    ),
    "Gather": ("Gather <axis = 1> (x, at)", {"at": ints(2, 0)}, IMAGE),
    "GatherElements": (
        "GatherElements <axis = 1> (x, at)",
        {"at": np.zeros((1, 2, 6, 6), np.int64)},
        IMAGE,
    ),
    "GatherND": ("GatherND (x, at)", {"at": np.array([[0, 1], [0, 3]], np.int64)}, IMAGE),
    "Gemm": ("Gemm <transB = 1> (x, w, b)", {"w": floats(6, 8), "b": floats(6)}, (5, 8)),
    "GlobalLpPool": ("GlobalLpPool <p = 2> (x)", {}, IMAGE),
    "GridSample": ("GridSample (x, c)", {"c": floats(1, 3, 3, 2)}, IMAGE),
    "GroupNormalization": (
        "GroupNormalization <num_groups = 2> (x, s, b)",
        {"s": floats(4), "b": floats(4)},
        IMAGE,
    ),
    "InstanceNormalization": (
        "InstanceNormalization (x, s, b)",
        {"s": floats(4), "b": floats(4)},
        IMAGE,
    ),
    "LRN": ("LRN <size = 3> (x)", {}, IMAGE),
    "LSTM": (
        "LSTM <hidden_size = 5> (x, w, r)",
        {"w": floats(1, 20, 4), "r": floats(1, 20, 5)},
        (3, 1, 4),
    ),
    "LayerNormalization": ("LayerNormalization (x, s, b)", {"s": floats(6), "b": floats(6)}, IMAGE),
    "LpPool": ("LpPool <kernel_shape = [2, 2]> (x)", {}, IMAGE),
    "MatMul": ("MatMul (x, w)", {"w": floats(8, 6)}, (5, 8)),
    "MaxPool": ("MaxPool <kernel_shape = [2, 2]> (x)", {}, IMAGE),
    "MaxRoiPool": (
        "MaxRoiPool <pooled_shape = [2, 2]> (x, c)",
        {"c": np.float32([[0, 0, 0, 5, 5]])},
        IMAGE,
    ),
    "MaxUnpool": (
        "MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, at)",
        {"at": np.arange(144).reshape(1, 4, 6, 6)},
        IMAGE,
    ),
    "Mod": ("Mod <fmod = 1> (x, c)", {"c": floats(1)}, IMAGE),
    "NonMaxSuppression": (
        "NonMaxSuppression (x, c, k, i, j)",
        {"c": floats(1, 1, 6), "k": ints(3), "i": np.float32([0.5]), "j": np.float32([0.1])},
        (1, 6, 4),
    ),
    "OneHot": (
        "OneHot (at, depth, values)",
        {"at": ints(0, 2, 1), "depth": np.int64(4), "values": np.float32([0, 1])},
        IMAGE,
    ),
    "PRelu": ("PRelu (x, c)", {"c": floats(4, 1, 1)}, IMAGE),
    "Pad": ("Pad (x, pads)", {"pads": ints(0, 0, 1, 1, 0, 0, 1, 1)}, IMAGE),
    "Pow": ("Pow (x, c)", {"c": np.float32([2])}, IMAGE),
    "RMSNormalization": ("RMSNormalization (x, s)", {"s": floats(6)}, IMAGE),
    "RNN": (
        "RNN <hidden_size = 5> (x, w, r)",
        {"w": floats(1, 5, 4), "r": floats(1, 5, 5)},
        (3, 1, 4),
    ),
    "Reshape": ("Reshape (x, size)", {"size": ints(1, 4, 36)}, IMAGE),
    "Resize": (
        'Resize <mode = "linear"> (x, , scales)',
        {"scales": np.float32([1, 1, 2, 2])},
        IMAGE,
    ),
    "ReverseSequence": (
        "ReverseSequence <time_axis = 1, batch_axis = 0> (x, at)",
        {"at": ints(2)},
        IMAGE,
    ),
    "RoiAlign": (
        "RoiAlign <output_height = 2, output_width = 2> (x, c, at)",
        {"c": np.float32([[0, 0, 5, 5]]), "at": ints(0)},
        IMAGE,
    ),
    "RotaryEmbedding": (
        "RotaryEmbedding (x, c, d, at)",
        {"c": floats(6, 3), "d": floats(6, 3), "at": ints(0, 1, 2, 3, 4, 5).reshape(1, 6)},
        IMAGE,
    ),
    "STFT": ("STFT (x, step, , length)", {"step": np.int64(4), "length": np.int64(8)}, (1, 32, 1)),
    "ScatterElements": (
        "ScatterElements <axis = 1> (x, at, c)",
        {"at": np.zeros((1, 1, 6, 6), np.int64), "c": floats(1, 1, 6, 6)},
        IMAGE,
    ),
    "ScatterND": (
        "ScatterND (x, at, c)",
        {"at": np.array([[0, 1]], np.int64), "c": floats(1, 6, 6)},
        IMAGE,
    ),
    "Slice": (
        "Slice (x, starts, ends, axes)",
        {"starts": ints(1), "ends": ints(3), "axes": ints(1)},
        IMAGE,
    ),
    "SpaceToDepth": ("SpaceToDepth <blocksize = 2> (x)", {}, IMAGE),
    "Split": ("Split <axis = 1> (x, sizes)", {"sizes": ints(1, 3)}, IMAGE),
    "Squeeze": ("Squeeze (x, axes)", {"axes": ints(0)}, IMAGE),
    "Tile": ("Tile (x, repeats)", {"repeats": ints(1, 2, 1, 1)}, IMAGE),
    "TopK": ("TopK (x, k)", {"k": ints(2)}, IMAGE),
    "Unsqueeze": ("Unsqueeze (x, axes)", {"axes": ints(0)}, IMAGE),
    "Upsample": ("Upsample (x, scales)", {"scales": np.float32([1, 1, 2, 2])}, IMAGE),
    "Where": ("Where (mask, x, c)", {"mask": floats(*IMAGE) < 0.5, "c": floats(1)}, IMAGE),
    # On integers and booleans alone: made from x by a comparison that the table has too.
    "And": ("And (f, f)", {"c": floats(1)}, IMAGE),
    "Or": ("Or (f, f)", {"c": floats(1)}, IMAGE),
    "Xor": ("Xor (f, f)", {"c": floats(1)}, IMAGE),
    "Not": ("Not (f)", {"c": floats(1)}, IMAGE),
}
FLAGS = ("And", "Or", "Xor", "Not")
OUTPUTS = {"TopK": "y, places", "Split": "y, z"}
OPSETS = {"Upsample": 9}
