"""The last steps of compiling for TFLite: convert, verify, write."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from qdq.base.atomic import atomic_output
from qdq.base.progress import Progress
from qdq.dataset import open_samples
from qdq.graph import model_file
from qdq.library._io_spec import IoSpec
from qdq.library._sources import SampleSource, path_of
from qdq.library._summary import TensorSummary
from qdq.target.interface import InterfaceRequest, rename_and_truncate

if TYPE_CHECKING:
    from qdq.target.tflite import TfliteModel
    from qdq.target.tflite.verify import Verification

__all__ = ["TfliteOutcome", "compile_for_tflite", "source_sha256", "write_tflite"]

# Each is run operator by operator against exact arithmetic or the whole model: seconds apiece.
_MOST_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class TfliteOutcome:
    """The converted model, and how well it computes what its source does, when that was asked."""

    model: TfliteModel
    verification: Verification | None

    def edges(self) -> dict[str, tuple[IoSpec, ...] | tuple[TensorSummary, ...]]:
        """Return inputs and outputs in the forms that ``CompileResult`` has."""
        sides: dict[str, tuple[IoSpec, ...] | tuple[TensorSummary, ...]] = {}
        for side, specs in (("input", self.model.input_spec), ("output", self.model.output_spec)):
            sides[f"{side}s"] = tuple(TensorSummary(it.name, it.dtype, it.shape) for it in specs)
            sides[f"{side}_spec"] = tuple(
                IoSpec(it.name, it.dtype, it.shape, it.scale, it.zero_point) for it in specs
            )
        return sides


def compile_for_tflite(
    model: ir.Model,
    request: InterfaceRequest,
    *,
    quantized: bool,
    float_model: ir.Model | None,
    samples: SampleSource | None,
    sha256: str,
    verify: bool,
    progress: Progress,
) -> TfliteOutcome:
    """Convert ``model``, which is used up, and verify what came out of it.

    ``float_model`` is what ``model`` was quantized from, where that is known; ``samples`` have the
    names and layout of both.  Raises VerificationError where an integer op or the whole model is
    out of tolerance, and the errors of ``compile_tflite``.
    """
    from qdq.target.tflite import compile_tflite

    reference = rename_and_truncate(model.clone(), request) if verify else None
    if float_model is not None:
        float_model = rename_and_truncate(float_model, request)
    done = compile_tflite(model, request, source_sha256=sha256, progress=progress)
    if reference is None:
        return TfliteOutcome(done, None)
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
    return TfliteOutcome(done, verification)


def write_tflite(model: TfliteModel, target: Path) -> None:
    """Write the file, whole or not at all; raise OutputError."""
    with atomic_output(target) as temporary:
        temporary.write_bytes(model.data)


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
