"""One operator against its reference: how far its outputs are, and how far they may be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from qdq.target.tflite.verify.reader import Array, TfliteModel, TfliteOp, TfliteTensor
from qdq.target.tflite.verify.reference import REFERENCES, Call, Operand, quantized
from qdq.target.tflite.verify.tolerances import Tolerance, tolerance_of

__all__ = ["OpCheck", "Status", "Unit", "check_ops"]

_AHEAD = "XNNPACK unpacks the constant ahead of the run; what takes it is checked"

# A tensor of the run by its index; the constants are the file's own.
Read = Callable[[int], Array]


class Status(StrEnum):
    """What a check came to; ``UNCHECKED`` is never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "unchecked"


class Unit(StrEnum):
    """What an error counts: quantization steps, shares of the tensor's maximum, wrong values."""

    LSB = "lsb"
    RELATIVE = "relative"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class OpCheck:
    """One output of one operator in one run.

    ``max_error`` and ``tolerance`` are in ``unit``; ``share_off`` is the share of elements that
    differ at all (floats: that are out of tolerance).  ``kernels`` are those that computed it,
    ``reason`` says why it failed or was not checked.
    """

    index: int
    name: str
    tensor: str
    dtype: str
    kernels: str
    status: Status
    unit: Unit = Unit.LSB
    max_error: float = 0.0
    tolerance: float = 0.0
    share_off: float = 0.0
    elements: int = 0
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def check_ops(
    model: TfliteModel,
    read: Read,
    delegated: frozenset[int],
    *,
    skip: Collection[int] = (),
) -> Iterator[OpCheck]:
    """Yield one check an output of every operator, fed with the run's own inputs.

    ``delegated`` are the tensors that XNNPACK made; TFLite's own kernels made the others.
    Operators whose index is in ``skip`` are left out.
    """
    unpacked = _unpacked(model, delegated)

    def value(index: int) -> Array:
        return unpacked[index] if index in unpacked else read(index)

    for op in model.ops:
        if op.index in skip:
            continue
        outputs = [model.tensors[index] for index in op.outputs]
        seen = [_Seen(op, tensor, tensor.index in delegated) for tensor in outputs]
        if not unpacked.keys().isdisjoint(op.outputs):
            yield from (one.check(Status.UNCHECKED, reason=_AHEAD) for one in seen)
        else:
            yield from _checks(seen, model, value)


def _checks(seen: list[_Seen], model: TfliteModel, read: Read) -> list[OpCheck]:
    """Return the checks of one operator, one an output."""
    try:
        expected = _expected(seen[0].op, model, [one.tensor for one in seen], read)
        found = [read(one.tensor.index) for one in seen]
    except _NoVerdictError as error:
        reason = str(error)
    # A reference that meets what it was not written for is no verdict on the kernel.
    except Exception as error:
        reason = f"the reference cannot compute it: {error!r}"
    else:
        trios = zip(seen, expected, found, strict=True)
        return [_compared(one, np.asarray(values), actual) for one, values, actual in trios]
    return [one.check(Status.UNCHECKED, reason=reason) for one in seen]


def _unpacked(model: TfliteModel, delegated: frozenset[int]) -> dict[int, Array]:
    """Return the constants that XNNPACK dequantizes when it loads; their tensors stay unwritten."""
    values: dict[int, Array] = {}
    for op in model.ops:
        if op.name == "DEQUANTIZE" and op.outputs[0] in delegated:
            source, result = model.tensors[op.inputs[0]], model.tensors[op.outputs[0]]
            if source.data is not None:
                values[result.index] = Operand(source, source.data).real.astype(result.dtype)
    return values


class _NoVerdictError(Exception):
    """Why an operator has no exact result to compare with."""


@dataclass(frozen=True, slots=True)
class _Seen:
    op: TfliteOp
    tensor: TfliteTensor
    delegated: bool

    def check(self, status: Status, **figures: Any) -> OpCheck:
        tensor, kernels = self.tensor, "xnnpack" if self.delegated else "builtin"
        return OpCheck(
            self.op.index, self.op.name, tensor.name, tensor.dtype, kernels, status, **figures
        )

    def judged(
        self, unit: Unit, largest: float, off: Array, tolerance: Tolerance, fault: str
    ) -> OpCheck:
        """Return the verdict; ``off`` marks the elements that differ."""
        status, limit = Status.PASSED, tolerance.limit
        if limit is None:
            status = Status.UNCHECKED
        elif largest > limit:
            status = Status.FAILED
        reasons = {Status.UNCHECKED: tolerance.why, Status.FAILED: fault}
        return self.check(
            status,
            unit=unit,
            max_error=float(largest),
            tolerance=limit or 0.0,
            share_off=float(np.count_nonzero(off)) / max(1, off.size),
            elements=int(off.size),
            reason=reasons.get(status, ""),
        )


def _expected(
    op: TfliteOp, model: TfliteModel, outputs: list[TfliteTensor], read: Read
) -> list[Array]:
    reference = REFERENCES.get(op.name)
    if reference is None:
        raise _NoVerdictError("it has no reference")
    operands = tuple(_operand(model, index, read) for index in op.inputs)
    hybrid = outputs[0].dtype.startswith("float") and op.name != "DEQUANTIZE"
    if hybrid and any(o is not None and o.tensor.quantized for o in operands):
        raise _NoVerdictError("a hybrid kernel quantizes its float input by itself")
    return reference(Call(op.name, operands, op.options, tuple(t.dtype for t in outputs)))


def _operand(model: TfliteModel, index: int, read: Read) -> Operand | None:
    if index < 0:
        return None
    tensor = model.tensors[index]
    if tensor.data is not None:
        return Operand(tensor, tensor.data)
    # An empty constant has no bytes in the file, and no buffer at run time.
    empty = 0 in tensor.shape
    return Operand(tensor, np.zeros(tensor.shape, tensor.dtype) if empty else read(index))


def _compared(seen: _Seen, expected: Array, actual: Array) -> OpCheck:
    tensor, op = seen.tensor, seen.op.name
    if expected.shape != actual.shape:
        reason = f"its shape is {list(actual.shape)}, not {list(expected.shape)}"
        return seen.check(Status.FAILED, reason=reason)
    length = actual.shape[-1] if actual.ndim else 1
    allowed = tolerance_of(op, tensor.dtype, delegated=seen.delegated, length=length)
    if tensor.dtype.startswith("float"):
        return _compared_floats(seen, expected, actual, allowed)
    if tensor.quantized and op != "CAST":
        error = np.abs(quantized(expected, tensor) - actual.astype(np.int64))
        fault = "its kernel does not compute what its scales say"
        return seen.judged(Unit.LSB, int(error.max(initial=0)), error != 0, allowed, fault)
    wrong = expected != actual
    fault = "its values are wrong"
    return seen.judged(Unit.WRONG, int(np.count_nonzero(wrong)), wrong, Tolerance(0.0, ""), fault)


def _compared_floats(seen: _Seen, expected: Array, actual: Array, allowed: Tolerance) -> OpCheck:
    finite = np.isfinite(expected) & np.isfinite(actual)
    alike = finite | (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    with np.errstate(invalid="ignore"):
        error = np.where(finite, np.abs(expected - actual.astype(np.float64)), 0.0)
    highest = float(np.abs(expected[finite]).max(initial=0.0))
    # Of a tensor of zeros every deviation counts in full.
    relative = error / (highest or 1.0)
    # Finite, as it goes into JSON.
    unlike = float(np.finfo(np.float32).max)
    largest = float(relative.max(initial=0.0)) if alike.all() else unlike
    off = (relative > (allowed.limit or 0.0)) | ~alike
    fault = "it is too far from its exact values"
    return seen.judged(Unit.RELATIVE, largest, off, allowed, fault)
