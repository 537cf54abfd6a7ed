"""Verification of a TFLite model: each operator against exact arithmetic, the whole against ONNX.

Nothing here uses the converter: the model is read from its bytes, and the references follow the
definitions of TFLite's operators.
"""

from __future__ import annotations

from qdq.target.tflite.verify.check import OpCheck, Status, Unit, check_ops
from qdq.target.tflite.verify.endtoend import Basis, EndToEnd
from qdq.target.tflite.verify.interpreter import Kernels, run_tflite
from qdq.target.tflite.verify.reader import TfliteModel, TfliteOp, TfliteTensor, read_tflite
from qdq.target.tflite.verify.run import verify_tflite
from qdq.target.tflite.verify.tolerances import Tolerance, tolerance_of, tolerance_table
from qdq.target.tflite.verify.verification import Verification

__all__ = [
    "Basis",
    "EndToEnd",
    "Kernels",
    "OpCheck",
    "Status",
    "TfliteModel",
    "TfliteOp",
    "TfliteTensor",
    "Tolerance",
    "Unit",
    "Verification",
    "check_ops",
    "read_tflite",
    "run_tflite",
    "tolerance_of",
    "tolerance_table",
    "verify_tflite",
]
