"""What a graph in the form of target onnx is given beyond it, before the HTP compiler gets it."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph import GraphPass, PassOutcome
from qdq.target.qnn.channel_scales import BoundChannelScales
from qdq.target.qnn.clips import SplitClips

__all__ = ["HTP_PASSES", "prepare_for_htp"]

HTP_PASSES: tuple[GraphPass, ...] = (
    # The compiler refuses, or computes wrongly, what stands between a Conv and its quantizer.
    SplitClips(),
    # Its 16-bit depthwise kernels overflow where scales of neighbours are far apart.
    BoundChannelScales(),
)


def prepare_for_htp(model: ir.Model) -> tuple[str, ...]:
    """Run the passes on ``model`` in place and return what they did, in sentences."""
    told: list[str] = []
    for graph_pass in HTP_PASSES:
        outcome = graph_pass(model)
        assert isinstance(outcome, PassOutcome)
        told.extend(str(note) for note in outcome.notes if note.applied)
    return tuple(told)
