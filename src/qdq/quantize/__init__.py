"""The quantizer: from a float ONNX model and samples to fake quantization (QDQ)."""

from qdq.quantize.encoding import Encoding
from qdq.quantize.plan import QuantizationPlan
from qdq.quantize.quantizer import Quantized, quantize_model
from qdq.quantize.report import QuantizationReport

__all__ = ["Encoding", "QuantizationPlan", "QuantizationReport", "Quantized", "quantize_model"]
