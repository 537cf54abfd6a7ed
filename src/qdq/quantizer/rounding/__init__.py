"""Second-order rounding: every layer on what the quantized ones before it give it."""

from qdq.quantizer.rounding.layers import find_layers
from qdq.quantizer.rounding.solve import LayerProblem
from qdq.quantizer.rounding.walk import Walk

__all__ = ["LayerProblem", "Walk", "find_layers"]
