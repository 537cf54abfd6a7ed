"""One file for each family of ops; ``LOWERINGS`` is the table of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

from qdq.base.errors import InternalError
from qdq.target.tflite.builder import Builder
from qdq.target.tflite.ir import Node
from qdq.target.tflite.lower import (
    activations,
    blocks,
    cast,
    concat,
    convert,
    convolution,
    elementwise,
    mathematics,
    matmul,
    normalization,
    pads,
    pools,
    reduce,
    resize,
    rounding,
    shapes,
    slices,
    transposed,
)

__all__ = ["ADMITS", "FAMILIES", "LOWERINGS"]

Lowering = Callable[[Node, Builder], None]

FAMILIES: tuple[ModuleType, ...] = (
    activations,
    blocks,
    cast,
    concat,
    convert,
    convolution,
    elementwise,
    mathematics,
    matmul,
    normalization,
    pads,
    pools,
    reduce,
    resize,
    rounding,
    shapes,
    slices,
    transposed,
)


def _collect() -> dict[str, Lowering]:
    table: dict[str, Lowering] = {}
    for module in FAMILIES:
        for item in vars(module).values():
            if getattr(item, "__module__", "") != module.__name__:
                continue
            for op_type in getattr(item, "op_types", ()):
                if op_type in table:
                    raise InternalError(f"Two lowerings for {op_type}")
                table[op_type] = item
    return table


LOWERINGS: Mapping[str, Lowering] = _collect()
ADMITS: Mapping[str, Callable[[Node, str], str]] = {
    op_type: admits
    for op_type, lowering in LOWERINGS.items()
    if (admits := getattr(lowering, "admits", None)) is not None
}
