"""What makes two quantizations the same work: model, samples, settings and engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import onnx_ir as ir

from qdq.base.version import __version__

__all__ = ["Identity"]

# What computes: another release may give another last digit.
_PACKAGES = ("numpy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Identity:
    """The prepared ``model``, the ``digests`` of all samples, and ``request``: all that was asked.

    The order of the samples is not part of it, as it changes nothing.
    """

    model: ir.Model
    digests: Sequence[bytes]
    request: str

    def key(self) -> str:
        """Return the SHA-256 as hex digits."""
        digest = hashlib.sha256()
        engine = [__version__, *(version(name) for name in _PACKAGES)]
        for text in (*engine, self.request):
            digest.update(f"{len(text)}:{text}".encode())
        for sample in sorted(self.digests):
            digest.update(sample)
        _add_graph(digest, self.model)
        return digest.hexdigest()


def _add_graph(digest: hashlib._Hash, model: ir.Model) -> None:
    """Add interface, nodes and constants one by one: the whole would double the memory."""
    graph = model.graph
    for value in (*graph.inputs, *graph.outputs):
        digest.update(ir.serde.serialize_value(value).SerializeToString(deterministic=True))
    for node in graph:
        digest.update(ir.serde.serialize_node(node).SerializeToString(deterministic=True))
    for name, value in graph.initializers.items():
        tensor = value.const_value
        digest.update(f"\0{name}\0{value.dtype}\0{value.shape}\0".encode())
        if tensor is not None:
            digest.update(tensor.tobytes())
