"""Mixed precision: by a share of the layers, by bounds on accuracy, and the curve between."""

from qdq.quantizer.mixed.bound import WidthChoice
from qdq.quantizer.mixed.bounds import check_bounds, require_bounds
from qdq.quantizer.mixed.curve import CurvePoint, Latency
from qdq.quantizer.mixed.request import MixedRequest, mixed_request
from qdq.quantizer.mixed.share import ShareChoice
from qdq.quantizer.mixed.stage import Widened, WidthStage, lift_worst

__all__ = [
    "CurvePoint",
    "Latency",
    "MixedRequest",
    "ShareChoice",
    "Widened",
    "WidthChoice",
    "WidthStage",
    "check_bounds",
    "lift_worst",
    "mixed_request",
    "require_bounds",
]
