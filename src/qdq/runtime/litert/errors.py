"""What LiteRT's messages mean: each becomes one leaf of the error tree, with its place."""

from __future__ import annotations

import re

from qdq.base.errors import ChildMemoryError, ModelInvalidError, QdqError, UnsupportedError
from qdq.runtime.litert.model_file import TfliteFile
from qdq.runtime.litert.sources import op_sources

__all__ = ["load_error", "run_error"]

# Wordings of LiteRT 2.3.
_NODE = re.compile(r"[Nn]ode number (?P<index>\d+) \((?P<op>[^)]+)\)")
_UNSUPPORTED = (
    re.compile(r"[Dd]idn't find op for builtin opcode '(?P<op>\w+)' version '\d+'"),
    re.compile(r"[Uu]nresolved custom op: (?P<op>[\w.:/-]+)"),
)
_MEMORY = ("Failed to allocate", "bad_alloc", "out of memory", "BytesRequired number of")
_LONGEST = 600
_DELEGATES = "TfLite"


def load_error(error: BaseException, model: TfliteFile) -> QdqError:
    """Return the error to raise when LiteRT refused to load a model."""
    text = str(error)
    for pattern in _UNSUPPORTED:
        if match := pattern.search(text):
            return UnsupportedError(
                f"LiteRT has no kernel for it: {_readable(text)}",
                op_type=match["op"],
                remedy="Convert with builtin ops of this version of LiteRT only",
            )
    remedy = "Convert the model again, for the version of LiteRT that is installed"
    return _located("LiteRT cannot load the model", text, remedy, model)


def run_error(error: BaseException, model: TfliteFile) -> QdqError:
    """Return the error to raise when LiteRT failed while it ran a model."""
    remedy = "Check the shapes and values of the sample against what the model expects"
    return _located("LiteRT cannot run the model", str(error), remedy, model)


def _located(what: str, text: str, remedy: str, model: TfliteFile) -> QdqError:
    if any(part in text for part in _MEMORY):
        return ChildMemoryError(
            f"{what}: {_readable(text)}",
            remedy="Use smaller inputs or a machine with more memory",
        )
    node, op_type = _place(text, model)
    return ModelInvalidError(
        f"{what}: {_readable(text)}", remedy=remedy, node=node, op_type=op_type
    )


def _place(text: str, model: TfliteFile) -> tuple[str | None, str | None]:
    match = _NODE.search(text)
    if match is None or match["op"].startswith(_DELEGATES):
        return None, None
    sources = op_sources(model)
    index = int(match["index"])
    return (sources[index] if index < len(sources) else None), match["op"]


def _readable(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _LONGEST else one_line[:_LONGEST] + " ..."
