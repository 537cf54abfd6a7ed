"""How work is run: one stage is a pure function from files to files in a sandboxed child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from qdq.base.progress import Progress

__all__ = ["StageRequest", "StageResult", "StageRunner"]


@dataclass(frozen=True, slots=True)
class StageRequest:
    """Stage name, its JSON spec, and input files as (path on this host, name the stage sees)."""

    stage: str
    spec: Mapping[str, Any]
    inputs: Sequence[tuple[Path, str]] = ()


@dataclass(frozen=True, slots=True)
class StageResult:
    """The stage's small JSON answer and its output files by fixed name, still in scratch."""

    answer: Mapping[str, Any]
    outputs: Mapping[str, Path] = field(default_factory=dict)


class StageRunner(Protocol):
    """Runs stages in children.  Raises the QdqError of the stage, or that of its crash.

    ``scratch`` is an empty folder of the caller, who removes it.  ``log`` is appended to while the
    stage runs.  Calls from several threads run side by side.  ``cancel`` is polled.
    """

    def run(
        self,
        request: StageRequest,
        *,
        scratch: Path,
        log: Path,
        progress: Progress,
        cancelled: CancelCheck,
    ) -> StageResult: ...

    def kept(self, stage: str, scratch: Path) -> Mapping[str, Path]:
        """Return what an unfinished ``stage`` left in ``scratch``: files by the names by which
        another attempt at the same work takes them as inputs."""
        ...


class CancelCheck(Protocol):
    """Tells whether the caller no longer wants the result."""

    def __call__(self) -> bool: ...
