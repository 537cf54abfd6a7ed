"""The last steps of compiling for TFLite: convert, verify, write."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from qdq.base.atomic import atomic_output
from qdq.base.progress import Progress
from qdq.graph import model_file
from qdq.library._io_spec import IoSpec
from qdq.library._sources import SampleSource, path_of
from qdq.library._summary import TensorSummary
from qdq.target.interface import InterfaceRequest, rename_and_truncate

if TYPE_CHECKING:
    from qdq.target.tflite import TfliteModel
    from qdq.target.tflite.verify import Verification

__all__ = ["compile_for_tflite", "source_sha256"]

# Each is run operator by operator against exact arithmetic or the whole model: seconds apiece.
_MOST_SAMPLES = 4


def compile_for_tflite(
    model: ir.Model,
    request: InterfaceRequest,
    target: Path | None,
    *,
    quantized: bool,
    float_model: ir.Model | None,
    samples: SampleSource | None,
    sha256: str,
    verify: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Convert ``model``, which is used up, verify and write it; return fields of ``CompileResult``.

    ``float_model`` is what ``model`` was quantized from, where that is known; ``samples`` have the
    names and layout of both.  Raises VerificationError where an integer op or the whole model is
    out of tolerance, OutputError, and the errors of ``compile_tflite``.
    """
    from qdq.target.tflite import compile_tflite

    reference = rename_and_truncate(model.clone(), request) if verify else None
    if float_model is not None:
        float_model = rename_and_truncate(float_model, request)
    done = compile_tflite(model, request, source_sha256=sha256, progress=progress)
    verification = None
    if reference is not None:
        progress.step("verify", 1)
        verification = _verify(
            done.data,
            request,
            qdq=reference if quantized else None,
            float_model=float_model if quantized else reference,
            samples=samples,
        )
        for line in verification.summary_lines():
            progress.notice(line)
        verification.require()
        progress.advance()
    if target is not None:
        with atomic_output(target) as temporary:
            temporary.write_bytes(done.data)
    edges = _edges(done)
    return {"model": done, "changes": done.changes, "verification": verification, **edges}


def _edges(model: TfliteModel) -> dict[str, tuple[IoSpec, ...] | tuple[TensorSummary, ...]]:
    """Return inputs and outputs in the forms that ``CompileResult`` has."""
    sides: dict[str, tuple[IoSpec, ...] | tuple[TensorSummary, ...]] = {}
    for side, specs in (("input", model.input_spec), ("output", model.output_spec)):
        sides[f"{side}s"] = tuple(TensorSummary(it.name, it.dtype, it.shape) for it in specs)
        sides[f"{side}_spec"] = tuple(
            IoSpec(it.name, it.dtype, it.shape, it.scale, it.zero_point) for it in specs
        )
    return sides


def source_sha256(source: object) -> str:
    """Return the SHA-256 of the file that ``source`` is, or that a folder has; else nothing."""
    path = path_of(source)
    if path is None:
        return ""
    with model_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(
    data: bytes,
    request: InterfaceRequest,
    *,
    qdq: ir.Model | None,
    float_model: ir.Model | None,
    samples: SampleSource | None,
) -> Verification:
    from qdq.target.tflite.verify import verify_tflite

    chosen = []
    if samples is not None:
        from qdq.dataset import open_samples

        with open_samples(samples) as opened:
            chosen = list(islice(opened, _MOST_SAMPLES))
    return verify_tflite(
        data,
        chosen,
        qdq=qdq,
        float_model=float_model,
        channel_last_inputs=request.channels_last_inputs,
        channel_last_outputs=request.channels_last_outputs,
    )
