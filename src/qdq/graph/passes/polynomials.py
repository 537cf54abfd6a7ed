"""Arithmetic as a polynomial: one question for all the orders in which a formula can be written."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from qdq.graph.edit import constant_array

__all__ = ["Polynomial", "is_close", "polynomial", "scalar"]

# The coefficient of each product of powers of the unknowns, by their exponents.
Polynomial = dict[tuple[int, ...], float]

# Formulas of activations are shorter; what is deeper or of a higher degree is none of them.
_DEEPEST = 6
_HIGHEST_DEGREE = 4


def polynomial(value: ir.Value | None, unknowns: tuple[ir.Value, ...]) -> Polynomial | None:
    """Return ``value`` as a polynomial in ``unknowns``, None where it is not one.

    Reads Add, Sub, Mul, Neg, Div by a constant and Pow by a small constant whole number; constants
    are those of one element.
    """
    return _Reader(unknowns).read(value, 0)


def is_close(found: Polynomial | None, wanted: Polynomial, rtol: float) -> bool:
    """Tell whether two polynomials have the same terms, and coefficients within ``rtol``."""
    return (
        found is not None
        and found.keys() == wanted.keys()
        and all(abs(found[key] - wanted[key]) <= rtol * abs(wanted[key]) for key in wanted)
    )


def scalar(value: ir.Value | None) -> float | None:
    """Return the number that a constant of one element holds."""
    array = constant_array(value)
    if array is None or array.size != 1 or array.dtype.kind not in "fi":
        return None
    return float(array.reshape(()))


class _Reader:
    def __init__(self, unknowns: tuple[ir.Value, ...]) -> None:
        self._unknowns = unknowns

    def read(self, value: ir.Value | None, depth: int) -> Polynomial | None:
        if value is None or depth > _DEEPEST:
            return None
        if value in self._unknowns:
            at = self._unknowns.index(value)
            return {tuple(int(i == at) for i in range(len(self._unknowns))): 1.0}
        number = scalar(value)
        if number is not None:
            return {(0,) * len(self._unknowns): number} if number else {}
        node = value.producer()
        if node is None or node.domain or len(node.inputs) > 2:
            return None
        return self._of_node(node, depth + 1)

    def _of_node(self, node: ir.Node, depth: int) -> Polynomial | None:
        if node.op_type not in _BINARY and node.op_type not in _BY_CONSTANT:
            return None
        first = self.read(node.inputs[0], depth)
        if first is None:
            return None
        if node.op_type in _BY_CONSTANT:
            return _BY_CONSTANT[node.op_type](first, scalar(node.inputs[-1]))
        second = self.read(node.inputs[1], depth)
        return None if second is None else _BINARY[node.op_type](first, second)


def _plus(first: Polynomial, second: Polynomial) -> Polynomial:
    total = dict(first)
    for key, coefficient in second.items():
        total[key] = total.get(key, 0.0) + coefficient
    return {key: coefficient for key, coefficient in total.items() if coefficient}


def _minus(first: Polynomial, second: Polynomial) -> Polynomial:
    return _plus(first, _negated(second, None))


def _negated(base: Polynomial, number: float | None) -> Polynomial:
    del number
    return {key: -coefficient for key, coefficient in base.items()}


def _times(first: Polynomial, second: Polynomial) -> Polynomial | None:
    product: Polynomial = {}
    for left, a in first.items():
        for right, b in second.items():
            key = tuple(i + j for i, j in zip(left, right, strict=True))
            product[key] = product.get(key, 0.0) + a * b
    return None if any(sum(key) > _HIGHEST_DEGREE for key in product) else product


def _divided(dividend: Polynomial, number: float | None) -> Polynomial | None:
    if not number:
        return None
    return {key: coefficient / number for key, coefficient in dividend.items()}


def _power(base: Polynomial, exponent: float | None) -> Polynomial | None:
    if exponent not in (1.0, 2.0, 3.0):
        return None
    power: Polynomial | None = base
    for _ in range(int(exponent) - 1):
        power = None if power is None else _times(power, base)
    return power


_BINARY: dict[str, Callable[[Polynomial, Polynomial], Polynomial | None]] = {
    "Add": _plus,
    "Sub": _minus,
    "Mul": _times,
}
_BY_CONSTANT: dict[str, Callable[[Polynomial, float | None], Polynomial | None]] = {
    "Div": _divided,
    "Neg": _negated,
    "Pow": _power,
}
