"""What each TFLite builtin computes, in exact arithmetic, from the schema's definitions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from qdq.target.tflite.verify.reference import (
    elementwise,
    images,
    movement,
    products,
    reductions,
)
from qdq.target.tflite.verify.reference.operands import Call, Operand, Reference, quantized

__all__ = ["REFERENCES", "Call", "Operand", "Reference", "quantized"]

# An operator that is not here is reported as not checked.
REFERENCES: Mapping[str, Reference] = MappingProxyType(
    {
        **products.REFERENCES,
        **elementwise.REFERENCES,
        **reductions.REFERENCES,
        **movement.REFERENCES,
        **images.REFERENCES,
    }
)
