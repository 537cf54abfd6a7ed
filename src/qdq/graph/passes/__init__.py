"""The passes, in the order in which ``optimize`` runs them."""

from __future__ import annotations

from qdq.graph.passes.base import GraphPass, Note, NoteLog, PassOutcome
from qdq.graph.passes.batch_norm import FoldBatchNorm
from qdq.graph.passes.channel_constants import FoldChannelConstants
from qdq.graph.passes.common_subexpressions import MergeCommonSubexpressions
from qdq.graph.passes.constants import FoldConstants, LiftConstants
from qdq.graph.passes.dead_code import RemoveDeadCode
from qdq.graph.passes.gelu import FuseGelu
from qdq.graph.passes.hard_activations import FuseHardActivations
from qdq.graph.passes.inputs import NormalizeInputs
from qdq.graph.passes.known_dims import FoldKnownDims
from qdq.graph.passes.layer_norm import FuseLayerNorm
from qdq.graph.passes.layout import MergeLayoutOps
from qdq.graph.passes.no_ops import RemoveNoOps
from qdq.graph.passes.pads import FoldPads
from qdq.graph.passes.shape_inference import InferShapes

__all__ = ["PIPELINE", "GraphPass", "InferShapes", "Note", "NoteLog", "PassOutcome"]

PIPELINE: tuple[GraphPass, ...] = (
    # First, as all the others ask "is it constant?": an input with a default is.
    NormalizeInputs(),
    # Some exporters keep weights in Constant nodes; every later pass looks at initializers.
    LiftConstants(),
    # The next two need shapes.
    InferShapes(),
    # Before folding, which continues from the dims that this makes constant.
    FoldKnownDims(),
    # Before the structural passes: they recognise constants, not expressions of constants.
    FoldConstants(),
    # Before BatchNorm: an Identity or Dropout between Conv and BatchNorm hides the pair.
    RemoveNoOps(),
    # Before BatchNorm: some exporters write the bias of a Conv as an Add between the two.
    FoldChannelConstants(),
    # Needs constant parameters and direct neighbours, which now exist.
    FoldBatchNorm(),
    # Needs constant pads, and no no-op left between a Pad and its Conv.
    FoldPads(),
    # After the constants are folded: what is left of 3 and 6 belongs to an activation.
    FuseHardActivations(),
    # Likewise, for 0.5 and the roots of 2; in the quantizer, once its opset has these operators.
    FuseGelu(),
    FuseLayerNorm(),
    # What is left of layout chains after no-ops between them are gone.
    MergeLayoutOps(),
    # Late: the passes above make more nodes equal.
    MergeCommonSubexpressions(),
    # Sweeps what the passes above cut off.
    RemoveDeadCode(),
    # The result carries the shapes of all its tensors.
    InferShapes(),
)
