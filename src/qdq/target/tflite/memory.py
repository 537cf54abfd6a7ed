"""Copies where LiteRT's memory planner lets an operator overwrite what another still reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from qdq.target.tflite.program import Operator, Tensor
from qdq.target.tflite.rules import operator_row

__all__ = ["with_copies"]

# Measured with LiteRT 2.3.0: these write where their input was.  Where one makes a tensor with
# several readers, a RESHAPE of it is the same memory, and another one behind the RESHAPE counts
# the RESHAPE's readers only: silently wrong with all kernels but XNNPACK's.
_IN_PLACE = frozenset(["ADD", "DIV", "MUL", "SOFTMAX", "SUB"])
# SLICE takes no more dims.
_MAX_RANK = 5


def with_copies(operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """Return the operators, with a copy behind each RESHAPE whose memory would be overwritten."""
    hazards = _Hazards(operators)
    copies: dict[Tensor, Tensor] = {}
    result: list[Operator] = []
    for operator in operators:
        inputs = tuple(copies.get(t, t) if t is not None else None for t in operator.inputs)
        done = _with_inputs(operator, inputs)
        result.append(done)
        if hazards.includes(operator):
            made = operator.outputs[0]
            added, copies[made] = _copy(made, operator.sources)
            result.extend(added)
    return tuple(result)


class _Hazards:
    def __init__(self, operators: Sequence[Operator]) -> None:
        self._producers = {t: operator for operator in operators for t in operator.outputs}
        self._readers: dict[Tensor, list[Operator]] = defaultdict(list)
        for operator in operators:
            for tensor in operator.inputs:
                if tensor is not None:
                    self._readers[tensor].append(operator)

    def includes(self, operator: Operator) -> bool:
        """Whether ``operator`` shares memory that is read elsewhere and written behind it."""
        if operator.name != "RESHAPE" or not self._is_written_behind(operator.outputs[0]):
            return False
        tensor, shared = operator.inputs[0], False
        while tensor is not None:
            shared |= len(self._readers[tensor]) > 1
            producer = self._producers.get(tensor)
            if producer is None or producer.name != "RESHAPE":
                return shared and producer is not None and producer.name in _IN_PLACE
            tensor = producer.inputs[0]
        return False

    def _is_written_behind(self, tensor: Tensor) -> bool:
        return any(
            reader.name in _IN_PLACE
            or (reader.name == "RESHAPE" and self._is_written_behind(reader.outputs[0]))
            for reader in self._readers[tensor]
        )


def _with_inputs(operator: Operator, inputs: tuple[Tensor | None, ...]) -> Operator:
    if inputs == operator.inputs:
        return operator
    return Operator(
        operator.name,
        operator.version,
        inputs,
        operator.outputs,
        operator.options,
        operator.sources,
    )


def _copy(tensor: Tensor, sources: tuple[str, ...]) -> tuple[list[Operator], Tensor]:
    """Return a SLICE of all of ``tensor``, and what it makes."""
    if len(tensor.shape) > _MAX_RANK:
        size = int(np.prod(tensor.shape))
        flat = Tensor(f"{tensor.name}_flat", (size,), tensor.dtype, tensor.encoding)
        back = Tensor(f"{tensor.name}_copy", tensor.shape, tensor.dtype, tensor.encoding)
        sliced, copy = _copy(flat, sources)
        return [_reshape(tensor, flat, sources), *sliced, _reshape(copy, back, sources)], back
    copy = Tensor(f"{tensor.name}_copy", tensor.shape, tensor.dtype, tensor.encoding)
    begin = _ints(f"{tensor.name}_begin", (0,) * len(tensor.shape))
    whole = _ints(f"{tensor.name}_size", tensor.shape)
    version = operator_row("SLICE").version(tensor.dtype)
    return [Operator("SLICE", version, (tensor, begin, whole), (copy,), {}, sources)], copy


def _reshape(tensor: Tensor, result: Tensor, sources: tuple[str, ...]) -> Operator:
    shape = _ints(f"{result.name}_shape", result.shape)
    version = operator_row("RESHAPE").version(tensor.dtype)
    options = {"newShape": result.shape}
    return Operator("RESHAPE", version, (tensor, shape), (result,), options, sources)


def _ints(name: str, items: Sequence[int]) -> Tensor:
    data = np.asarray(items, np.int32)
    return Tensor(name, data.shape, "int32", None, data)
