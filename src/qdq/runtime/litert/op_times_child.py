"""The child that times the ops of a TFLite model; a crash in it costs only these times."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from qdq.base.child_side import child_main
from qdq.base.progress import Progress
from qdq.runtime.litert.capi import ProfiledModel
from qdq.runtime.litert.model_file import read_tflite
from qdq.runtime.litert.session import cores

__all__ = ["work"]

_RUNS = 10


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``events``: kind, tag, index and the microseconds of each run after the first."""
    del progress
    folder = Path(spec["folder"])
    # Checked here too: nobody else's word is taken for it.
    read_tflite(spec["model"])
    sample = {
        name: np.load(folder / Path(file).name, allow_pickle=False) for name, file in spec["sample"]
    }
    deadline = time.monotonic() + float(spec["max_time"])
    rows: list[tuple[int, str, int]] = []
    times: list[list[int]] = []
    with ProfiledModel(Path(spec["model"]), threads=int(spec["threads"]) or cores()) as model:
        model.write(sample)
        for done in range(_RUNS + 1):
            events = model.run()
            told = [(it.kind, it.tag, it.index) for it in events]
            # The first run is not counted; a second one always is.
            if done == 1:
                rows = told
            if done and told == rows:
                times.append([it.elapsed_us for it in events])
            if done and time.monotonic() > deadline:
                break
    columns = zip(*times, strict=True)
    return {"events": [[*row, list(column)] for row, column in zip(rows, columns, strict=True)]}


if __name__ == "__main__":
    child_main(work)
