"""Where a quantized model comes from: every encoding with its reason, and what it was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq.base.options import Options
from qdq.base.tools import tool_versions
from qdq.graph import model_file
from qdq.library._sources import ModelSource, path_of
from qdq.quantizer import QuantizationReport

__all__ = ["PROVENANCE_SCHEMA", "file_digest", "model_digest", "provenance", "provenance_path"]

# Of the JSON document; it grows by fields, and this number when one changes its meaning.
PROVENANCE_SCHEMA = "qdq.provenance/1"
_CHUNK = 1 << 20
# The tools that quantizing runs; others may be installed and change nothing.
_USED = ("qdq", "onnxruntime", "onnx", "onnx-ir", "onnxscript", "numpy")
_WHY = {
    "fixed": "the op's range is known, and the target's kernels want it",
    "given": "the user gave the range",
}


def provenance_path(model: Path) -> Path:
    """Return the name of the provenance file beside a model."""
    return model.with_name(f"{model.name}.provenance.json")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as ``sha256sum`` tells it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def model_digest(source: ModelSource, model: ir.Model) -> dict[str, Any]:
    """Return the name and SHA-256 of a model's file and of its external data; none in memory.

    ``model`` is what was read from ``source``, or written to it.
    """
    path = path_of(source)
    if path is None:
        return {"name": None, "sha256": None, "external_data": {}}
    file = model_file(path)
    tensors = (value.const_value for value in model.graph.initializers.values())
    names = {str(it.location) for it in tensors if isinstance(it, ir.ExternalTensor)}
    data = {name: file_digest(file.parent / name) for name in sorted(names)}
    return {"name": file.name, "sha256": file_digest(file), "external_data": data}


def provenance(
    report: QuantizationReport,
    options: Options,
    *,
    source: Mapping[str, Any],
    origins: Mapping[str, Sequence[str]],
    output: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the JSON form; nothing in it depends on time, place or machine.

    ``source`` and ``output`` are the digests of the float and the quantized model; ``origins`` maps
    nodes of the quantized model to those of the float one that they compute.
    """
    plan = report.plan.to_dict()
    tools = tool_versions()
    return {
        "schema": PROVENANCE_SCHEMA,
        "tools": {name: tools[name] for name in _USED if name in tools},
        "source": dict(source),
        "calibration": {
            "sha256": report.calibration_digest,
            "samples": report.samples,
            "used_for_ranges": report.calibration_samples,
            "used_for_gates": report.gate_samples,
            "used_for_report": report.report_samples,
        },
        "model": dict(output),
        "options": options.to_text(),
        "options_in_force": options.to_dict(),
        "settings": report.settings.to_dict(),
        "lite_mp": None if report.share is None else report.share.to_dict(),
        "accuracy_bound": None if report.widths is None else report.widths.to_dict(),
        "levers": [match.to_dict() for match in report.levers],
        "sites": list(_sites(report, plan)),
        "float_islands": plan["float_islands"],
        "corrected_biases": plan["corrected_biases"],
        "decisions": [it.to_dict() for it in report.decisions if it.accepted],
        "nodes": {name: list(covered) for name, covered in origins.items()},
    }


def _sites(report: QuantizationReport, plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every encoding with what it is of, the rule that put it there, and why it is so."""
    for kind, rows in (
        ("activation", plan["activations"]),
        ("convert", plan["converts"]),
        ("constant", plan["constants"]),
    ):
        for row in rows:
            yield {"kind": kind, **row, "why": _choice(report, row.get("scheme"))}
    layers = {it.where: it for it in report.decisions if it.accepted and it.step == "layer"}
    for row, planned in zip(plan["weights"], report.plan.weights, strict=True):
        decided = next((layers[name] for name in row["nodes"] if name in layers), None)
        why = _requested(report) if decided is None else f"{decided.choice}: {decided.reason}"
        encoding = planned.encoding.to_dict()
        yield {"kind": "weight", **row, "encoding": encoding, "why": why}


def _requested(report: QuantizationReport) -> str:
    settings = report.settings
    return f"--range_scheme {settings.range_scheme_requested}, --rounding {settings.rounding}"


def _choice(report: QuantizationReport, scheme: str | None) -> str:
    """Return why a range was chosen by ``scheme``; None: a constant, whose values are all known."""
    if scheme is None or scheme in _WHY:
        return _WHY.get(scheme or "", "a constant: its values are all known")
    requested = report.settings.range_scheme_requested
    if requested != "auto":
        return f"asked for by --range_scheme {requested}"
    taken = [it for it in report.decisions if it.accepted]
    if any(it.step == "activation_range" and it.choice == scheme for it in taken):
        return "auto: the best on the gate split"
    whole = next((it for it in taken if it.step == "whole_model" and scheme in it.choice), None)
    if whole is not None:
        return f"auto: '{whole.choice}' is {whole.reason}"
    return "auto: the default of this width"
