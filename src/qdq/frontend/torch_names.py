"""Names that the importing process and its torch child agree on."""

from __future__ import annotations

__all__ = ["OUTPUT_FILE", "WRAPPED", "input_name", "output_name"]

OUTPUT_FILE = "model.onnx"
# The attribute that holds the user's module in the module that is exported.
WRAPPED = "qdq_wrapped"


def input_name(index: int) -> str:
    """Return how the child calls an input; nothing of the user's is called so."""
    return f"qdq_input_{index}"


def output_name(index: int) -> str:
    """Return the name of an output: torch models do not name theirs."""
    return f"output_{index}"
