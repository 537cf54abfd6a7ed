"""What a compiled model may be verified with: the float model behind a quantized one, and data."""

from __future__ import annotations

import onnx_ir as ir

from qdq.base.errors import OptionError, SpecError
from qdq.base.progress import NO_PROGRESS
from qdq.frontend import InputSpecs
from qdq.library._load import import_source
from qdq.library._sources import ModelSource, SampleSource

__all__ = ["check_verify_sources", "float_source"]


def check_verify_sources(
    runtime: str,
    *,
    float_model: ModelSource | None,
    samples: SampleSource | None,
    calibration: SampleSource | None,
    verify: bool,
) -> None:
    """Raise OptionError where something to verify with is given and nothing would use it."""
    given = [
        word
        for word, value in (("float model", float_model), ("samples", samples))
        if value is not None
    ]
    if not given:
        return
    what = f"To verify with, {' and '.join(given)} {'are' if samples is not None else 'is'} given"
    if runtime != "tflite":
        raise OptionError(
            f"{what}, and the runtime {runtime} is not verified",
            remedy="Leave them out, or use qdq compare FLOAT COMPILED --inputs DATA",
        )
    if not verify:
        raise OptionError(f"{what}, and verification is off", remedy="Leave out --no-verify")
    if calibration is not None:
        raise OptionError(
            f"{what}, and so is calibration data, whose float model is the one compiled",
            remedy="Leave them out: the calibration data verifies, too",
        )


def float_source(
    source: ModelSource, specs: InputSpecs | None, model: ir.Model, *, quantized: bool
) -> ir.Model:
    """Return the float model that ``model`` was quantized from, in its own names and layout.

    Raises OptionError where ``model`` is itself float, SpecError where inputs or outputs of the two
    differ by name, and the errors of ``import_source``.
    """
    if not quantized:
        raise OptionError(
            "A float model is given to verify with, and the model to compile is float itself",
            remedy="Leave it out: a float model is verified against itself",
        )
    made = import_source(source, specs, progress=NO_PROGRESS)
    for what, ours, theirs in (
        ("inputs", model.graph.inputs, made.graph.inputs),
        ("outputs", model.graph.outputs, made.graph.outputs),
    ):
        names, others = [value.name for value in ours], [value.name for value in theirs]
        if names != others:
            raise SpecError(
                f"The float model has the {what} {others}, the quantized one {names}",
                remedy="Give the model that it was quantized from",
            )
    return made
