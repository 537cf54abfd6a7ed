"""``--quantize_full_type``: quantize inside a compile job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from qdq.base.errors import OptionError
from qdq.base.options import JobKind, Options, parse_options
from qdq.base.precision import FULL_TYPES, check_precision
from qdq.base.progress import Progress
from qdq.library._sources import SampleSource

if TYPE_CHECKING:
    from qdq.quantizer import Quantized

__all__ = ["check_calibration", "quantize_fully"]


def check_calibration(options: Options, *, given: bool) -> None:
    """Raise OptionError unless calibration data and ``--quantize_full_type`` come together."""
    full_type = options.get("quantize_full_type")
    if full_type is not None and not given:
        raise OptionError(
            f"--quantize_full_type {full_type} needs calibration data",
            remedy="Give it (--calibration DATA), or leave the option out",
        )
    if full_type is None and given:
        raise OptionError(
            "Calibration data is given and nothing uses it",
            remedy="Add --quantize_full_type, or leave the data out",
        )


def quantize_fully(
    model: ir.Model, calibration: SampleSource, options: Options, progress: Progress
) -> Quantized:
    """Quantize ``model``, which is used up, as a quantize job with default options would.

    ``calibration`` has the names, shapes and layout of the model as it was imported.
    """
    from qdq.dataset import open_samples
    from qdq.quantizer import quantize_model

    full_type = options.get_text("quantize_full_type")
    weights, activations = FULL_TYPES[full_type]
    check_precision(weights, activations, options.get_text("target_runtime"))
    if full_type == "int16":
        progress.notice("--quantize_full_type int16: activations become int16, weights int8")
    with open_samples(calibration) as samples:
        return quantize_model(
            model,
            samples,
            weights=weights,
            activations=activations,
            options=parse_options(JobKind.QUANTIZE, ""),
            progress=progress,
        )
