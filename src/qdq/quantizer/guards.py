"""Keep int32 accumulators from overflowing: weight scales are enlarged where a bias would not fit.

Limits from the public behaviour of AIMET-ONNX 2.42 (weight-scale adjustment against overflow),
which are those of Hexagon's integer kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qdq.quantizer.encoding import Encoding, FloatArray

__all__ = ["BIAS_LIMIT", "ScaleLimits", "enlarge_scales", "minimum_scales"]

# Half of the accumulator's 2^31 is left to the products that are summed onto the bias.
BIAS_LIMIT = 2.0**30
# Requantization factors below 2^-24 lose all bits of the kernel's fixed-point multiplier.
_SMALLEST_MULTIPLIER = 2.0**-24

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScaleLimits:
    """What surrounds a weight: encodings of the input and the output, and the bias.

    The last axis of ``bias`` is the output channels, or one entry for all.
    """

    input: Encoding
    output: Encoding | None
    bias: npt.NDArray[np.floating] | None


def minimum_scales(limits: ScaleLimits) -> Float64Array:
    """Return, for each output channel or for all, the smallest weight scale that cannot overflow.

    |bias / (s_x s_w)| and |bias / (s_x s_w) - z_y s_y / (s_x s_w)| stay below the bias limit, and
    s_x s_w / s_y above the smallest multiplier.
    """
    input_scale = limits.input.scale[0]
    needed, offset = 0.0, 0.0
    if limits.output is not None:
        output_scale = limits.output.scale[0]
        offset = limits.output.zero_point[0] * output_scale
        needed = _SMALLEST_MULTIPLIER * output_scale / input_scale
    bias = np.zeros((1, 1)) if limits.bias is None else limits.bias.astype(np.float64)
    bias = bias.reshape(-1, bias.shape[-1] if bias.ndim else 1)
    reach = np.maximum(np.abs(bias), np.abs(bias - offset)).max(axis=0)
    fitting: Float64Array = np.maximum(needed, reach / (input_scale * BIAS_LIMIT))
    return fitting


def enlarge_scales(scales: FloatArray, needed: Float64Array) -> tuple[FloatArray, int]:
    """Return scales that are at least ``needed``, and how many were enlarged."""
    short = scales < needed
    if not short.any():
        return scales, 0
    # The next float up, so that rounding to float32 does not undercut the limit.
    raised = np.nextafter(needed.astype(np.float32), np.float32(np.inf))
    return np.where(short, raised, scales).astype(np.float32), int(short.sum())
