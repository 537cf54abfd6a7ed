"""The quantizer: from a float ONNX model and samples to fake quantization (QDQ)."""

from qdq.quantizer.encoding import Encoding
from qdq.quantizer.mixed import Latency
from qdq.quantizer.pipeline import Quantized, quantize_model
from qdq.quantizer.placing import Placed, place_model
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.report import QuantizationReport

__all__ = [
    "Encoding",
    "Latency",
    "Placed",
    "QuantizationPlan",
    "QuantizationReport",
    "Quantized",
    "place_model",
    "quantize_model",
]
