"""Models of every kind we take, imported as checked ONNX graphs.

Formats are told by content.  torch runs only in a child process, which is also the only place
where pickled data is read; in this process a model's bytes are looked at, never unpickled.
"""

from qdq.frontend.aimet import AimetModel, import_aimet
from qdq.frontend.aimet_encodings import AimetEncodings
from qdq.frontend.aimet_values import AimetEncoding
from qdq.frontend.formats import ModelFormat, detect_format
from qdq.frontend.importer import import_model
from qdq.frontend.specs import InputSpec, InputSpecs, check_specs, parse_input_spec

__all__ = [
    "AimetEncoding",
    "AimetEncodings",
    "AimetModel",
    "InputSpec",
    "InputSpecs",
    "ModelFormat",
    "check_specs",
    "detect_format",
    "import_aimet",
    "import_model",
    "parse_input_spec",
]
