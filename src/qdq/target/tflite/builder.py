"""What lowerings write with: tensors of values in any layout, constants, operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import numpy as np

from qdq.base.errors import UnsupportedError
from qdq.target.tflite import layout
from qdq.target.tflite.ir import Array, Encoding, Node, Value
from qdq.target.tflite.layout import Perm
from qdq.target.tflite.program import Operator, Option, Tensor
from qdq.target.tflite.rules import operator_row
from qdq.target.tflite.widen import computing_dtype, plain_dtype

__all__ = ["Builder", "Stored", "lowers"]

_KEEP_DIMS_VERSION = {"int16": 7}

Lowering = Callable[[Node, "Builder"], None]
Stored = tuple[Tensor, Perm]


def lowers(
    *op_types: str, admits: Callable[[Node, str], str] | None = None
) -> Callable[[Lowering], Lowering]:
    """Mark a function as the lowering of ``op_types``.

    ``admits`` says why a node cannot be a kernel of an integer dtype, "" where it can: for what
    depends on attributes and shapes, and so is no matter of the rule table.
    """

    def mark(function: Lowering) -> Lowering:
        function.op_types = op_types  # type: ignore[attr-defined]
        function.admits = admits  # type: ignore[attr-defined]
        return function

    return mark


class Builder:
    """Collects operators; knows in which layouts each value is stored already.

    Transposes are made when first asked for, and once.  ``edges`` gives the layout in which an
    output of the model must end, by value.
    """

    def __init__(self, edges: dict[Value, Perm]) -> None:
        self.operators: list[Operator] = []
        self._forms: dict[Value, dict[Perm, Tensor]] = {}
        self._edges = edges
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._node: Node | None = None

    def begin(self, node: Node) -> None:
        """Let what is emitted from here on come from ``node``."""
        self._node = node

    # Reading values

    def get(self, value: Value, perm: Perm) -> Tensor:
        """Return ``value`` stored in ``perm``, transposing it once where it is not yet."""
        if value.data is not None:
            return self._permuted_constant(value, perm)
        forms = self._forms[value]
        if perm not in forms:
            have, tensor = self._nearest(value, perm)
            forms[perm] = self._rearranged(value, tensor, have, perm)
        return forms[perm]

    def logical(self, value: Value) -> Tensor:
        """Return ``value`` in ONNX's order of dims."""
        return self.get(value, layout.identity(value.rank))

    def channels_last(self, value: Value) -> Tensor:
        """Return ``value`` as N...C."""
        return self.get(value, layout.channels_last(value.rank))

    def any(self, value: Value) -> Stored:
        """Return ``value`` in the layout it was made in: no op is emitted."""
        if value.data is not None:
            return self.logical(value), layout.identity(value.rank)
        perm, tensor = next(iter(self._forms[value].items()))
        return tensor, perm

    def forms(self, value: Value) -> tuple[Perm, ...]:
        """Return the layouts in which ``value`` is there already; none for a constant."""
        return tuple(self._forms.get(value, ()))

    def edge(self, value: Value) -> Perm | None:
        """Return the layout in which callers see ``value``, None where they do not."""
        return self._edges.get(value)

    def common(self, values: Sequence[Value]) -> Perm:
        """Return the layout of values of equal rank that needs the fewest elements transposed."""
        rank = max(value.rank for value in values)
        computed = [value for value in values if value.data is None and value.rank == rank]
        candidates = dict.fromkeys(perm for value in computed for perm in self.forms(value))
        if not candidates:
            return layout.identity(rank)

        def cost(perm: Perm) -> int:
            return sum(math.prod(v.shape) for v in computed if not self._is_at_hand(v, perm))

        return min(candidates, key=cost)

    def aligned(self, values: Sequence[Value], perm: Perm) -> list[Tensor]:
        """Return values that broadcast against one another, stored in ``perm`` of full rank."""
        return [self._broadcastable(value, perm) for value in values]

    # Making tensors

    def result(self, value: Value, perm: Perm | None = None) -> Tensor:
        """Return a new tensor for ``value`` in the layout that the operator will make it in."""
        perm = layout.identity(value.rank) if perm is None else perm
        tensor = self._tensor(value, perm)
        self._forms.setdefault(value, {})[perm] = tensor
        return tensor

    def bind(self, value: Value, tensor: Tensor, perm: Perm) -> None:
        """Let ``value`` be an existing tensor: an op that moves nothing in memory."""
        self._forms.setdefault(value, {})[perm] = tensor

    def temporary(
        self, name: str, shape: Sequence[int], dtype: str, encoding: Encoding | None = None
    ) -> Tensor:
        """Return a tensor that stands for no value."""
        return Tensor(self._unique(name), tuple(shape), dtype, encoding)

    def like(self, tensor: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """Return a temporary of the dtype and encoding of ``tensor``."""
        shape = tensor.shape if shape is None else shape
        return self.temporary(f"{tensor.name}_part", shape, tensor.dtype, tensor.encoding)

    def constant(
        self, array: Array, *, name: str = "constant", encoding: Encoding | None = None
    ) -> Tensor:
        """Return a constant as stored; equal ones without an encoding are one tensor."""
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype.name, array.shape, array.tobytes() if array.size < 1024 else b"")
        if encoding is None and array.size < 1024:
            if key not in self._constants:
                self._constants[key] = Tensor(
                    self._unique(name), array.shape, array.dtype.name, None, array
                )
            return self._constants[key]
        return Tensor(self._unique(name), array.shape, array.dtype.name, encoding, array)

    def ints(self, items: Sequence[int], name: str = "dims") -> Tensor:
        """Return a 1-D int32 constant: shapes, axes, permutations."""
        return self.constant(np.asarray(items, np.int32), name=name)

    # Emitting

    def emit(
        self,
        name: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        *,
        version: int | None = None,
        **options: Option,
    ) -> None:
        """Append a TFLite op; ``options`` are fields of its schema table, enums by name.

        The version is that of the row in operators.json for the dtype of the first tensor that
        carries data.  Where the kernel lacks the dtype of tensors without an encoding, they are
        cast to one that it has and back.  Raises UnsupportedError where there is none.
        """
        row = operator_row(name)
        dtype = plain_dtype(inputs, outputs)
        computing = None if dtype is None else computing_dtype(row, dtype)
        if dtype is not None and computing is None:
            self._refuse_dtype(name, dtype)
        made = list(outputs)
        if computing is not None and computing != dtype:
            inputs = [self._cast(t, computing) if t and t.dtype == dtype else t for t in inputs]
            made = [self._retyped(t, computing) if t.dtype == dtype else t for t in outputs]
        first = next((t for t in inputs if t is not None and t.data is None), made[0])
        number = row.version(first.dtype) if version is None else version
        self._append(name, number, inputs, made, options)
        for tensor, output in zip(made, outputs, strict=True):
            if tensor is not output:
                self._append_cast(tensor, output)

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Return ``tensor`` with another stored shape, itself where it has that already."""
        if tensor.shape == tuple(shape):
            return tensor
        if tensor.data is not None:
            data = tensor.data.reshape(shape)
            return self.constant(data, name=tensor.name, encoding=tensor.encoding)
        result = self.like(tensor, shape)
        self.emit_reshape(tensor, result)
        return result

    def emit_reshape(self, tensor: Tensor, result: Tensor) -> None:
        """Emit the RESHAPE from ``tensor`` to ``result``."""
        self.emit("RESHAPE", [tensor, self.ints(result.shape)], [result], newShape=result.shape)

    def fully_connected(
        self, inputs: Sequence[Tensor | None], result: Tensor, fused: str = "NONE"
    ) -> None:
        """Emit FULLY_CONNECTED over the last dim of the first input; the others stay."""
        keeps = len(result.shape) != 2
        self.emit(
            "FULLY_CONNECTED",
            inputs,
            [result],
            version=_KEEP_DIMS_VERSION.get(result.dtype, 5) if keeps else None,
            fusedActivationFunction=fused,
            keepNumDims=keeps,
        )

    def fused(self, node: Node) -> str:
        """Return the fused activation of ``node`` for its options."""
        return "NONE" if node.clamp is None else node.clamp.kind

    def refuse(self, node: Node, why: str, remedy: str) -> NoReturn:
        """Raise UnsupportedError at ``node``."""
        raise UnsupportedError(why, node=node.name, op_type=node.op_type, remedy=remedy)

    # Inner workings

    def _append(
        self,
        name: str,
        version: int,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        options: Mapping[str, Option],
    ) -> None:
        sources = self._node.sources if self._node is not None else ()
        operator = Operator(name, version, tuple(inputs), tuple(outputs), options, sources)
        self.operators.append(operator)

    def _cast(self, tensor: Tensor, dtype: str) -> Tensor:
        if tensor.data is not None:
            return self.constant(tensor.data.astype(dtype), name=tensor.name)
        result = self._retyped(tensor, dtype)
        self._append_cast(tensor, result)
        return result

    def _append_cast(self, tensor: Tensor, result: Tensor) -> None:
        types = {"inDataType": tensor.dtype.upper(), "outDataType": result.dtype.upper()}
        version = operator_row("CAST").version(tensor.dtype)
        self._append("CAST", version, [tensor], [result], types)

    def _retyped(self, tensor: Tensor, dtype: str) -> Tensor:
        return self.temporary(f"{tensor.name}_{dtype}", tensor.shape, dtype)

    def _refuse_dtype(self, name: str, dtype: str) -> NoReturn:
        node = self._node
        raise UnsupportedError(
            f"TFLite's {name} has no kernel for {dtype}",
            node=None if node is None else node.name,
            op_type=None if node is None else node.op_type,
            remedy="Export the model in float32, or cast before this op",
        )

    def _tensor(self, value: Value, perm: Perm) -> Tensor:
        name = value.name
        if perm != self._edges.get(value, layout.identity(value.rank)) and value in self._edges:
            name = f"{name}_stored"
        return Tensor(
            self._unique(name),
            layout.stored(value.shape, perm),
            value.dtype,
            _stored_encoding(value.encoding, perm),
        )

    def _permuted_constant(self, value: Value, perm: Perm) -> Tensor:
        forms = self._forms.setdefault(value, {})
        if perm not in forms:
            assert value.data is not None
            forms[perm] = self.constant(
                value.data.transpose(perm),
                name=value.name,
                encoding=_stored_encoding(value.encoding, perm),
            )
        return forms[perm]

    def _is_at_hand(self, value: Value, perm: Perm) -> bool:
        return any(layout.is_memory_equal(value.shape, have, perm) for have in self.forms(value))

    def _nearest(self, value: Value, perm: Perm) -> tuple[Perm, Tensor]:
        forms = self._forms[value]
        for have, tensor in forms.items():
            if layout.is_memory_equal(value.shape, have, perm):
                return have, tensor
        return next(iter(forms.items()))

    def _rearranged(self, value: Value, tensor: Tensor, have: Perm, perm: Perm) -> Tensor:
        result = self._tensor(value, perm)
        if layout.is_memory_equal(value.shape, have, perm):
            self.emit_reshape(tensor, result)
        else:
            order = self.ints(layout.between(have, perm), "perm")
            self.emit("TRANSPOSE", [tensor, order], [result])
        return result

    def _broadcastable(self, value: Value, perm: Perm) -> Tensor:
        rank = len(perm)
        missing = rank - value.rank
        if missing == 0:
            return self.get(value, perm)
        full = (*(1,) * missing, *value.shape)
        if value.data is not None:
            encoding = value.encoding
            return self.constant(
                value.data.reshape(full).transpose(perm), name=value.name, encoding=encoding
            )
        # The order of the value's own dims within the wanted layout.
        own = tuple(axis - missing for axis in perm if axis >= missing)
        return self.reshape(self.get(value, own), layout.stored(full, perm))

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        if not count:
            return name
        return self._unique(f"{name}_{count + 1}")


def _stored_encoding(encoding: Encoding | None, perm: Perm) -> Encoding | None:
    if encoding is None or encoding.axis is None:
        return encoding
    return Encoding(encoding.scale, encoding.zero_point, encoding.dtype, perm.index(encoding.axis))
