"""Explain a quantized model: each encoding, where it stands, and why it is as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq.base.errors import ModelInvalidError
from qdq.graph import infer_shapes, label, model_file
from qdq.library._load import read_model
from qdq.library._provenance import PROVENANCE_SCHEMA, model_digest, provenance_path
from qdq.library._sources import ModelSource, path_of
from qdq.target.onnx.encodings import encoding_of

__all__ = ["Explanation", "explain"]

# Of the JSON document; it grows by fields, and this number when one changes its meaning.
_SCHEMA = "qdq.explain/1"
# A provenance file has some hundred bytes for each channel; what is larger is something else.
_LARGEST = 1 << 30
_NOT_TOLD = "the file does not tell"
_QDQ = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, slots=True)
class Explanation:
    """``sites`` are rows with ``kind`` (activation, convert, weight, constant), ``tensor``,
    ``rule``, ``scheme``, ``why`` and ``encoding``.

    ``provenance`` is the whole provenance file where there is one of this very model; else rows
    hold what the graph itself tells.  ``floats`` are nodes on float data without Q/DQ around them.
    """

    model: str | None
    producer: str
    metadata: dict[str, str]
    sites: tuple[dict[str, Any], ...]
    floats: tuple[dict[str, Any], ...]
    provenance: dict[str, Any] | None
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``schema`` numbers it."""
        return {
            "schema": _SCHEMA,
            "model": self.model,
            "producer": self.producer,
            "metadata": self.metadata,
            "explained_by": "the graph" if self.provenance is None else "provenance",
            "sites": list(self.sites),
            "float_nodes": list(self.floats),
            "provenance": self.provenance,
            "notices": list(self.notices),
        }


def explain(model: ModelSource) -> Explanation:
    """Tell every encoding of a quantized ONNX model, and why it is so as far as is known.

    Models of ``qdq quantize`` have a provenance file beside them (``NAME.provenance.json``); it
    is used where its hash is that of the model.  Of any other QDQ model the graph is told.  Raises
    ModelInvalidError for a model without Q/DQ, and the errors of models that cannot be read.
    """
    graph_model = read_model(model)
    path = path_of(model)
    notices: list[str] = []
    known = None
    if path is not None:
        beside = provenance_path(model_file(path))
        known = _provenance(beside, model_digest(model, graph_model), notices)
    # What is float is told by dtypes, which files need not hold.
    infer_shapes(graph_model)
    read = tuple(_sites(graph_model.graph))
    if not read:
        raise ModelInvalidError(
            "The model holds no Q/DQ pairs: there is nothing to explain",
            remedy="Quantize it first: qdq quantize MODEL --calibration DATA -o OUT.onnx",
        )
    floats = () if known is None else tuple(known["float_islands"])
    return Explanation(
        model=None if path is None else str(path),
        producer=f"{graph_model.producer_name or ''} {graph_model.producer_version or ''}".strip(),
        metadata=dict(graph_model.metadata_props),
        sites=read if known is None else tuple(known["sites"]),
        floats=floats if known is not None else tuple(_floats(graph_model.graph)),
        provenance=known,
        notices=tuple(notices),
    )


def _provenance(path: Path, digest: dict[str, Any], notices: list[str]) -> dict[str, Any] | None:
    """Return the provenance file of this very model; another one is named in a notice."""
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST else ""
        found = json.loads(text)
        if found["schema"] != PROVENANCE_SCHEMA:
            notices.append(f"'{path.name}' is of schema {found['schema']}, not {PROVENANCE_SCHEMA}")
            return None
        same = all(found["model"][key] == digest[key] for key in ("sha256", "external_data"))
        rows = all(isinstance(found[key], list) for key in ("sites", "float_islands"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        notices.append(f"'{path.name}' is no provenance file of qdq, and was not used")
        return None
    if not same or not rows:
        notices.append(f"'{path.name}' is of another model: its hash is not this one's")
        return None
    assert isinstance(found, dict)
    return found


def _sites(graph: ir.Graph) -> Iterator[dict[str, Any]]:
    """Yield what the graph tells of each encoding, in graph order."""
    for node in graph:
        if node.op_type not in _QDQ or node.domain or node.inputs[0] is None:
            continue
        source = node.inputs[0]
        before = source.producer()
        if node.op_type == "DequantizeLinear" and before is not None and _is(before, _QDQ[0]):
            # Told at its QuantizeLinear.
            continue
        reader = _dequantized(node) if node.op_type == "QuantizeLinear" else node
        end = node.outputs[0] if reader is None else reader.outputs[0]
        yield {
            "kind": _kind(node, source),
            "tensor": end.name if end.is_graph_output() else source.name,
            "rule": _rule(source, end),
            "scheme": None,
            "why": _NOT_TOLD,
            "encoding": _encoding(node),
            "nodes": [label(use.node) for use in end.uses()],
        }


def _dequantized(node: ir.Node) -> ir.Node | None:
    """Return the DequantizeLinear behind a QuantizeLinear."""
    readers = [use.node for use in node.outputs[0].uses()]
    return next((it for it in readers if _is(it, "DequantizeLinear")), None)


def _kind(node: ir.Node, source: ir.Value) -> str:
    before = source.producer()
    if before is not None and _is(before, "DequantizeLinear"):
        return "convert"
    constant = source.is_initializer() or (before is not None and before.op_type == "Constant")
    if not constant:
        return "activation"
    end = _dequantized(node) if node.op_type == "QuantizeLinear" else node
    uses = [] if end is None else [use.idx for use in end.outputs[0].uses()]
    return "weight" if uses and min(uses) > 0 else "constant"


def _rule(source: ir.Value, end: ir.Value) -> str:
    producer = source.producer()
    if source.is_initializer():
        made = "a constant"
    elif producer is None:
        made = "graph input"
    else:
        made = f"output of {producer.op_type} '{label(producer)}'"
    readers = dict.fromkeys(use.node.op_type for use in end.uses())
    read = f"read by {', '.join(readers)}" if readers else ""
    output = "graph output" if end.is_graph_output() else ""
    return ", ".join(filter(None, (made, read, output)))


def _encoding(node: ir.Node) -> dict[str, Any]:
    """Return dtype, scale and zero point; None for those that are computed or blocked."""
    found = encoding_of(node)
    if found is None:
        return {"dtype": None, "scale": None, "zero_point": None, "axis": None}
    per_tensor = found.is_per_tensor
    return {
        "dtype": found.zero_point.dtype.name,
        "scale": found.scale.item() if per_tensor else found.scale.reshape(-1).tolist(),
        "zero_point": (
            found.zero_point.item() if per_tensor else found.zero_point.reshape(-1).tolist()
        ),
        "axis": None if per_tensor else found.axis,
    }


def _floats(graph: ir.Graph) -> Iterator[dict[str, Any]]:
    """Yield nodes on float data of which no input comes from a DequantizeLinear."""
    floats = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
    for node in graph:
        if node.op_type in _QDQ and not node.domain:
            continue
        data = [it for it in node.inputs if it is not None and not it.is_initializer()]
        producers = [it.producer() for it in data if it.dtype in floats]
        if producers and not any(it is not None and _is(it, _QDQ[1]) for it in producers):
            inner = [it for it in producers if it is not None and not _is(it, _QDQ[1])]
            after = {use.node.op_type for it in node.outputs for use in it.uses()}
            if "QuantizeLinear" in after and inner:
                # The last op of a supergroup, such as the Relu behind a Conv.
                continue
            yield {"node": label(node), "op_type": node.op_type, "reason": _NOT_TOLD}


def _is(node: ir.Node, op_type: str) -> bool:
    return node.op_type == op_type and not node.domain
