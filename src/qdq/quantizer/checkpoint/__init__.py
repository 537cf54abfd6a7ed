"""Finished stages on disk: an interrupted quantization goes on instead of starting again."""

from qdq.quantizer.checkpoint.identity import Identity
from qdq.quantizer.checkpoint.stages import NO_CHECKPOINT, Checkpoint, StageFiles

__all__ = ["NO_CHECKPOINT", "Checkpoint", "Identity", "StageFiles"]
