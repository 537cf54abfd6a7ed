"""From a float model and calibration data to a quantized model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq.base.errors import QdqError
from qdq.base.options import JobKind, Options, parse_options
from qdq.base.precision import Precision, check_quantize_target
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import open_samples
from qdq.graph import save_model
from qdq.library._latency import host_latency
from qdq.library._lint import tell_findings
from qdq.library._load import protect_weights, read_model
from qdq.library._notices import NoticeKeeper
from qdq.library._provenance import model_digest, provenance, provenance_path
from qdq.library._report import is_page, write_quantize_report, write_report
from qdq.library._sources import ModelSource, PathLike, SampleSource, check_output
from qdq.quantizer import QuantizationReport, quantize_model
from qdq.quantizer.checkpoint import NO_CHECKPOINT, StageFiles
from qdq.target.lint import Finding

__all__ = ["QuantizeResult", "quantize"]

# Of the JSON document; it grows by fields, and this number when one changes its meaning.
_SCHEMA = "qdq.quantize/1"
# The HTP architecture that a quantize target promises to suit, where it promises one.
_LINTED = {"portable": "htp-v73", "htp-v68": "htp-v68"}


@dataclass(frozen=True, slots=True)
class QuantizeResult:
    """A quantized model in memory, where it and its provenance were written, and how good it is.

    ``findings`` are those of the lint, for quantize targets that are to run on HTP.
    """

    model: ir.Model
    precision: Precision
    options: Options
    report: QuantizationReport
    notices: tuple[str, ...]
    output: Path | None
    report_files: tuple[Path, ...]
    provenance: Path | None = None
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the model."""
        return {
            "schema": _SCHEMA,
            "output": None if self.output is None else str(self.output),
            "provenance": None if self.provenance is None else str(self.provenance),
            "report_files": [str(path) for path in self.report_files],
            "precision": self.precision.name,
            "options": self.options.to_text(),
            "notices": list(self.notices),
            "findings": [finding.to_dict() for finding in self.findings],
            "report": self.report.to_dict(),
        }


def quantize(
    model: ModelSource,
    calibration: SampleSource,
    output: PathLike | None = None,
    *,
    weights: str = "int8",
    activations: str = "int8",
    options: str = "",
    report: PathLike | Sequence[PathLike] = (),
    resume: PathLike | None = None,
    progress: Progress = NO_PROGRESS,
) -> QuantizeResult:
    """Quantize a float ONNX model; the result holds Q/DQ pairs and float weights on their grid.

    ``calibration`` is a path to .h5, .npz or a folder of .npy, or a mapping from input names to
    arrays; ``output`` and ``report`` are files to write: a report is a page where its name ends in
    .html, else JSON, and there may be several.  Beside ``output`` its provenance is written, as
    ``NAME.provenance.json``.  Raises OptionError or PrecisionError for what was asked, DatasetError
    for the samples, AccuracyError where no model meets ``--accuracy_bound``, and the errors of
    models that cannot be read or are not supported.  On an error nothing is written.  ``resume`` is
    a folder that keeps finished stages until the end: after a run that was killed, the same work
    goes on from them.
    """
    parsed = parse_options(JobKind.QUANTIZE, options)
    target_name = parsed.get_text("quantize_target")
    precision = check_quantize_target(weights, activations, target_name)
    given = (model, calibration)
    target = None if output is None else check_output(output, given, suffixes=(".onnx",))
    report_files = _report_files(report, (*given, output))
    beside = (
        None if target is None else check_output(provenance_path(target), (*given, *report_files))
    )
    keeper = NoticeKeeper(progress)
    float_model = read_model(model)
    source = model_digest(model, float_model)
    protect_weights(float_model, target)
    kept = None if resume is None else StageFiles(Path(resume))
    with _cleared(kept), open_samples(calibration) as samples:
        done = quantize_model(
            float_model,
            samples,
            weights=weights,
            activations=activations,
            options=parsed,
            figures=any(is_page(path) for path in report_files),
            checkpoint=NO_CHECKPOINT if kept is None else kept,
            latency=host_latency(samples),
            progress=keeper,
        )
    # For those who have the model without its provenance.
    done.model.metadata_props["qdq.options"] = parsed.to_text()
    done.model.metadata_props["qdq.calibration_sha256"] = done.report.calibration_digest
    linted = _LINTED.get(parsed.get_text("quantize_target"), "")
    findings = tell_findings(done.model, linted, keeper)
    if target is not None and beside is not None:
        save_model(done.model, target)
        origins = {name: [it.name for it in nodes] for name, nodes in done.origins.items()}
        written = model_digest(target, done.model)
        told = provenance(done.report, parsed, source=source, origins=origins, output=written)
        write_report(beside, told)
    for path in report_files:
        write_quantize_report(path, done.report)
    return QuantizeResult(
        model=done.model,
        precision=precision,
        options=parsed,
        report=done.report,
        notices=keeper.notices,
        output=target,
        provenance=beside,
        report_files=report_files,
        findings=findings,
    )


@contextmanager
def _cleared(kept: StageFiles | None) -> Iterator[None]:
    """Remove what was kept once the work has ended, unless it was ended from outside."""
    try:
        yield
    except QdqError:
        if kept is not None:
            kept.clear()
        raise
    if kept is not None:
        kept.clear()


def _report_files(
    report: PathLike | Sequence[PathLike], inputs: Sequence[object]
) -> tuple[Path, ...]:
    """Check each file to write, also against the ones before it."""
    given = (report,) if isinstance(report, str | os.PathLike) else tuple(report)
    return tuple(check_output(path, (*inputs, *given[:i])) for i, path in enumerate(given))
