"""Models of every kind we take, imported as checked ONNX graphs.

Formats are told by content.  torch runs only in a child process, which is also the only place
where pickled data is read; in this process a model's bytes are looked at, never unpickled.
Names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    **dict.fromkeys(("AimetModel", "import_aimet"), "aimet"),
    "AimetEncodings": "aimet_encodings",
    "AimetEncoding": "aimet_values",
    **dict.fromkeys(("ModelFormat", "detect_format"), "formats"),
    "import_model": "importer",
    **dict.fromkeys(("InputSpec", "InputSpecs", "check_specs", "parse_input_spec"), "specs"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qdq.frontend' has no attribute '{name}'")
    value = getattr(import_module(f"qdq.frontend.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
