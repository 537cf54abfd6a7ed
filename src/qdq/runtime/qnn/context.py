"""A context binary as Qualcomm's system library describes it: chip, graphs, inputs, outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qdq.base.child import run_child
from qdq.base.devices import chipset_name
from qdq.base.errors import ChildCrashError, ModelCorruptError, ModelInvalidError, SpecError
from qdq.base.qnn_package import PACKAGE, provider_version, require_qnn
from qdq.runtime.tensors import TensorInfo

__all__ = ["ContextBinary", "ContextGraph", "ContextTensor", "context_from", "read_context"]

_SECONDS = 300.0
_BUILD_PARTS = 3


@dataclass(frozen=True, slots=True)
class ContextTensor:
    """An input or output; ``real = scale * (integer - zero_point)`` where both are set."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None

    def info(self) -> TensorInfo:
        """Return it as sessions tell theirs."""
        return TensorInfo(self.name, self.dtype, self.shape, self.scale, self.zero_point)


@dataclass(frozen=True, slots=True)
class ContextGraph:
    """One graph of a binary; ``optimization_level`` is None where the compiler chose it."""

    name: str
    inputs: tuple[ContextTensor, ...]
    outputs: tuple[ContextTensor, ...]
    optimization_level: int | None
    spill_fill_bytes: int | None


@dataclass(frozen=True, slots=True)
class ContextBinary:
    """What a binary tells of itself; ``sha256`` and ``size`` are of the file.

    ``soc_model`` is Qualcomm's number of the chip, ``arch`` such as ``v75``, ``build_id`` that of
    the QAIRT that made it, ``blob_bytes`` the part that the HTP gets.
    """

    sha256: str
    size: int
    backend: str
    soc_model: int
    arch: str | None
    build_id: str
    core_api: str
    backend_api: str
    blob_bytes: int
    vtcm_mb: int | None
    graphs: tuple[ContextGraph, ...]

    @property
    def chipset(self) -> str:
        """The chip's name, or its number where that is not in our list."""
        return chipset_name(self.soc_model) or f"SoC {self.soc_model}"

    @property
    def qairt_version(self) -> str:
        """The version of QAIRT in the build id, such as ``2.51.0``."""
        return ".".join(self.build_id.removeprefix("v").split(".")[:_BUILD_PARTS])

    def graph(self, name: str | None = None) -> ContextGraph:
        """Return the graph ``name``, or the first; SpecError names those that there are."""
        for graph in self.graphs:
            if name in (None, graph.name):
                return graph
        told = ", ".join(f"'{graph.name}'" for graph in self.graphs)
        raise SpecError(
            f"The context binary has no graph '{name}'", remedy=f"Name one of its graphs: {told}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that results and records carry."""
        level = {graph.optimization_level for graph in self.graphs}
        return {
            "sha256": self.sha256,
            "size": self.size,
            "soc_model": self.soc_model,
            "chipset": self.chipset,
            "hexagon": self.arch,
            "backend": self.backend,
            "graph_names": [graph.name for graph in self.graphs],
            "qairt_version": self.qairt_version,
            "build_id": self.build_id,
            "core_api": self.core_api,
            "provider": f"{PACKAGE} {provider_version()}",
            "blob_bytes": self.blob_bytes,
            "vtcm_mb": self.vtcm_mb,
            "optimization_level": level.pop() if len(level) == 1 else None,
            "graphs": [asdict(graph) for graph in self.graphs],
        }


def read_context(path: str | os.PathLike[str]) -> ContextBinary:
    """Read the context binary at ``path`` back, in a child process.

    Raises MissingDependencyError without onnxruntime-qnn, ModelCorruptError, ModelInvalidError or
    UnsupportedError for a file that is no context binary of the HTP.
    """
    require_qnn()
    place = Path(path)
    if not place.is_file():
        raise ModelCorruptError(f"'{place}' is not a file", remedy="Give a context binary")
    try:
        told = run_child(
            "qdq.runtime.qnn.read_child", {"path": str(place.resolve())}, timeout_s=_SECONDS
        )
    except ChildCrashError as error:
        raise ModelInvalidError(
            "Qualcomm's system library died while it read the context binary, which is damaged",
            remedy="Compile the model again, or copy the file again",
        ) from error
    return context_from(told)


def context_from(told: Mapping[str, Any]) -> ContextBinary:
    """Return what ``read_child`` told of a binary; ModelInvalidError for one without graphs."""
    graphs = tuple(
        ContextGraph(
            name=graph["name"],
            inputs=tuple(map(_tensor, graph["inputs"])),
            outputs=tuple(map(_tensor, graph["outputs"])),
            optimization_level=graph["optimization_level"],
            spill_fill_bytes=graph["spill_fill_bytes"],
        )
        for graph in told["graphs"]
    )
    if not graphs:
        raise ModelInvalidError("The context binary has no graph", remedy="Compile the model again")
    return ContextBinary(**{**told, "graphs": graphs})


def _tensor(told: Mapping[str, Any]) -> ContextTensor:
    return ContextTensor(**{**told, "shape": tuple(told["shape"])})
