"""What ONNX Runtime's messages mean: each becomes one leaf of the error tree, with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdq.base.errors import (
    ChildMemoryError,
    DatasetError,
    ModelCorruptError,
    ModelInvalidError,
    QdqError,
    UnsupportedError,
)

__all__ = ["load_error", "run_error"]

# Wordings of ONNX Runtime 1.24 to 1.32; the first that matches gives the place.
_PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        r"running (?P<op>\S+) node\. Name:'(?P<node>.*?)' Status",
        r"In Node, \(\"(?P<node>[^\"]*)\", (?P<op>[^,]+),",
        r"Node \((?P<node>.*?)\) Op \((?P<op>\w+)\)",
        r"Node:(?P<node>.*?) ",
        r"implementation for (?P<op>[\w.:]+)\(\d+\) node with name '(?P<node>.*?)'",
        r"(?:Optype|operator) \((?P<op>\w+)\).* in node \((?P<node>.*?)\)",
        r"error: (?P<op>[\w.:]+)\(-1\) is not a registered",
        r"Node input '(?P<tensor>.*?)' is not a graph input",
        r"for input: (?P<tensor>\S+)",
    )
)
_SOURCE = re.compile(r"/onnxruntime_src/\S+ .*?\) (?=[A-Z])|/onnxruntime_src/\S+ ")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_LONGEST_CAUSE = 600

_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")
_UNSUPPORTED = (
    "is not a registered function/op",
    "No Op registered for",
    "Could not find an implementation",
    "NOT_IMPLEMENTED",
    "Unsupported model IR version",
    "Current official support for domain",
)
_CORRUPT = ("INVALID_PROTOBUF", "No graph was found in the protobuf", "ModelProto does not have")
_WRONG_FEED = (
    "Invalid rank for input",
    "Got invalid dimensions for input",
    "Unexpected input data type",
    "Invalid Feed Input Name",
    "Required inputs",
    "Missing Input",
)


@dataclass(frozen=True, slots=True)
class _Place:
    node: str | None
    op_type: str | None
    tensor: str | None


def load_error(error: BaseException) -> QdqError:
    """Return the error to raise when ONNX Runtime refused to load a model."""
    text = str(error)
    kind: type[QdqError] = ModelInvalidError
    remedy = "Check the model with onnx.checker and export it again"
    if _has(text, _OUT_OF_MEMORY):
        kind, remedy = ChildMemoryError, "Use a machine with more memory or a smaller model"
    elif _has(text, _UNSUPPORTED):
        kind = UnsupportedError
        remedy = "Export with standard ONNX operators of an opset that this ONNX Runtime knows"
    elif _has(text, _CORRUPT):
        kind, remedy = ModelCorruptError, "Give a complete ONNX file"
    return _located(kind, "ONNX Runtime cannot load the model", text, remedy)


def run_error(error: BaseException) -> QdqError:
    """Return the error to raise when ONNX Runtime failed while it ran a model."""
    text = str(error)
    kind: type[QdqError] = ModelInvalidError
    remedy = "Check the shapes and values of the sample against what the model expects"
    if _has(text, _OUT_OF_MEMORY):
        kind, remedy = ChildMemoryError, "Use smaller inputs or a machine with more memory"
    elif _has(text, _WRONG_FEED):
        kind, remedy = DatasetError, "Give samples with the model's input names, shapes and dtypes"
    return _located(kind, "ONNX Runtime cannot run the model", text, remedy)


def _located(kind: type[QdqError], what: str, text: str, remedy: str) -> QdqError:
    place = _place(text)
    return kind(
        f"{what}: {_readable(text)}",
        remedy=remedy,
        node=place.node,
        op_type=place.op_type,
        tensor=place.tensor,
    )


def _place(text: str) -> _Place:
    for pattern in _PLACES:
        if match := pattern.search(text):
            found = match.groupdict()
            return _Place(
                found.get("node") or None, found.get("op") or None, found.get("tensor") or None
            )
    return _Place(None, None, None)


def _readable(text: str) -> str:
    short = _SOURCE.sub("", _PREFIX.sub("", text)).split("Status Message: ")[-1]
    one_line = " ".join(short.split())
    return one_line if len(one_line) <= _LONGEST_CAUSE else one_line[:_LONGEST_CAUSE] + " ..."


def _has(text: str, parts: tuple[str, ...]) -> bool:
    return any(part in text for part in parts)
