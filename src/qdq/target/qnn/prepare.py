"""What a graph in the form of target onnx is given beyond it, before the HTP compiler gets it."""

from __future__ import annotations

import onnx_ir as ir

from qdq.base.devices import HtpTarget
from qdq.graph import GraphPass, PassOutcome
from qdq.target.qnn.biases import RoundBiases
from qdq.target.qnn.channel_scales import BoundChannelScales
from qdq.target.qnn.clips import SplitClips
from qdq.target.qnn.depthwise_pads import PadDepthwise
from qdq.target.qnn.matmuls import WideMatMuls

__all__ = ["htp_passes", "prepare_for_htp"]


def htp_passes(target: HtpTarget) -> tuple[GraphPass, ...]:
    """Return the passes for one chip, in their order."""
    return (
        # The compiler refuses, or computes wrongly, what stands between a Conv and its quantizer.
        SplitClips(),
        # Its 16-bit depthwise kernels overflow where scales of neighbours are far apart.
        BoundChannelScales(),
        # Those of 5x5 with stride 2 read past the left edge of their input.
        PadDepthwise(),
        # Behind what moves weights and biases: 16-bit sums are counted in 256s.
        RoundBiases(),
        # It multiplies 16-bit activations as if they had 8, unless the second is int16.
        WideMatMuls(target.arch_number),
    )


def prepare_for_htp(model: ir.Model, target: HtpTarget) -> tuple[str, ...]:
    """Run the passes on ``model`` in place and return what they did, in sentences."""
    told: list[str] = []
    for graph_pass in htp_passes(target):
        outcome = graph_pass(model)
        assert isinstance(outcome, PassOutcome)
        told.extend(str(note) for note in outcome.notes if note.applied)
    return tuple(told)
