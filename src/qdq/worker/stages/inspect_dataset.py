"""Tell what an uploaded dataset holds, without reading its values: input ``dataset``."""

from __future__ import annotations

from typing import Any

from qdq.base.progress import Progress
from qdq.dataset import open_samples
from qdq.worker.stages.files import find_input
from qdq.worker.stages.log import log

__all__ = ["work"]

# Shapes may differ by sample; more kinds than this are only counted.
_MOST_SHAPES = 16


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``samples`` and ``inputs``: name, dtype and shape of the first sample.

    ``same_layout`` tells whether all samples have them; ``layouts`` has those that occur.
    """
    del spec
    path = find_input("dataset") or "inputs/dataset"
    with open_samples(path) as samples:
        count = len(samples)
        progress.step("inspect", 1)
        kinds: dict[str, dict[tuple[str, tuple[int, ...]], None]] = {n: {} for n in samples.names}
        for index in range(count):
            for name, layout in samples.layout(index).items():
                kinds[name][layout.dtype, layout.shape] = None
    progress.advance()
    log(f"{count} samples of {', '.join(kinds)}")
    return {"samples": count, "inputs": [_input(name, found) for name, found in kinds.items()]}


def _input(name: str, kinds: dict[tuple[str, tuple[int, ...]], None]) -> dict[str, Any]:
    dtype, shape = next(iter(kinds))
    return {
        "name": name,
        "dtype": dtype,
        "shape": list(shape),
        "same_layout": len(kinds) == 1,
        "layouts": [
            {"dtype": dtype, "shape": list(shape)} for dtype, shape in list(kinds)[:_MOST_SHAPES]
        ],
    }
