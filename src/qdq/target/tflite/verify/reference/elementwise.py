"""Element by element: arithmetic with broadcasting, comparisons, functions of one value."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qdq.target.tflite.verify.reader import Array
from qdq.target.tflite.verify.reference.operands import Call, Reference, activated

__all__ = ["REFERENCES", "erf"]

_Binary = Callable[[Array, Array], Array]
_Unary = Callable[[Array], Array]


def _binary(function: _Binary) -> Reference:
    """Return the reference of a function of two operands and a fused activation."""

    def reference(call: Call) -> list[Array]:
        with np.errstate(all="ignore"):
            return [activated(call, function(call.operand(0).real, call.operand(1).real))]

    return reference


def _unary(function: _Unary) -> Reference:
    def reference(call: Call) -> list[Array]:
        with np.errstate(all="ignore"):
            return [function(call.operand(0).real)]

    return reference


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu":
        # Integers divide towards zero.
        return np.trunc(a / b).astype(a.dtype)
    return a / b


def _leaky_relu(call: Call) -> list[Array]:
    x = call.operand(0).real
    return [np.where(x < 0, x * float(call.option("alpha", 0.0)), x)]


def _prelu(call: Call) -> list[Array]:
    x, alpha = call.operand(0).real, call.operand(1).real
    return [np.where(x < 0, x * alpha, x)]


def _gelu(call: Call) -> list[Array]:
    x = call.operand(0).real
    if call.option("approximate", False):
        return [0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))]
    return [0.5 * x * (1 + erf(x / math.sqrt(2)))]


def _softmax(call: Call) -> list[Array]:
    x = call.operand(0).real * float(call.option("beta", 1.0))
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return [powers / powers.sum(axis=-1, keepdims=True)]


def _log_softmax(call: Call) -> list[Array]:
    x = call.operand(0).real
    shifted = x - x.max(axis=-1, keepdims=True)
    return [shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))]


def erf(x: Array) -> Array:
    """Return the error function in float64."""
    return np.array(list(map(math.erf, x.reshape(-1))), np.float64).reshape(x.shape)


def _logistic(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _elu(x: Array) -> Array:
    values: Array = np.where(x < 0, np.expm1(np.minimum(x, 0)), x)
    return values


def _hard_swish(x: Array) -> Array:
    values: Array = x * np.clip(x + 3, 0, 6) / 6
    return values


def _clip(low: float, high: float) -> _Unary:
    return lambda x: np.clip(x, low, high)


def _select(call: Call) -> list[Array]:
    return [np.where(call.operand(0).raw, call.operand(1).real, call.operand(2).real)]


REFERENCES: dict[str, Reference] = {
    "ADD": _binary(np.add),
    "SUB": _binary(np.subtract),
    "MUL": _binary(np.multiply),
    "DIV": _binary(_divide),
    "MAXIMUM": _binary(np.maximum),
    "MINIMUM": _binary(np.minimum),
    "POW": _binary(np.power),
    "FLOOR_DIV": _binary(np.floor_divide),
    "FLOOR_MOD": _binary(np.mod),
    "SQUARED_DIFFERENCE": _binary(lambda a, b: (a - b) ** 2),
    "EQUAL": _binary(np.equal),
    "NOT_EQUAL": _binary(np.not_equal),
    "GREATER": _binary(np.greater),
    "GREATER_EQUAL": _binary(np.greater_equal),
    "LESS": _binary(np.less),
    "LESS_EQUAL": _binary(np.less_equal),
    "LOGICAL_AND": _binary(np.logical_and),
    "LOGICAL_OR": _binary(np.logical_or),
    "LOGICAL_NOT": _unary(np.logical_not),
    "RELU": _unary(_clip(0.0, np.inf)),
    "RELU6": _unary(_clip(0.0, 6.0)),
    "RELU_N1_TO_1": _unary(_clip(-1.0, 1.0)),
    "RELU_0_TO_1": _unary(_clip(0.0, 1.0)),
    "LEAKY_RELU": _leaky_relu,
    "PRELU": _prelu,
    "ELU": _unary(_elu),
    "LOGISTIC": _unary(_logistic),
    "TANH": _unary(np.tanh),
    "HARD_SWISH": _unary(_hard_swish),
    "GELU": _gelu,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _log_softmax,
    "ABS": _unary(np.abs),
    "NEG": _unary(np.negative),
    "SQRT": _unary(np.sqrt),
    "RSQRT": _unary(lambda x: 1 / np.sqrt(x)),
    "EXP": _unary(np.exp),
    "LOG": _unary(np.log),
    "SQUARE": _unary(np.square),
    "SIN": _unary(np.sin),
    "COS": _unary(np.cos),
    "SIGN": _unary(np.sign),
    "FLOOR": _unary(np.floor),
    "CEIL": _unary(np.ceil),
    # To even, as ONNX rounds too.
    "ROUND": _unary(np.rint),
    "SELECT": _select,
    "SELECT_V2": _select,
}
