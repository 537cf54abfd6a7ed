"""The child of ``profile`` for TFLite: times and memory of one model in a fresh process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdq.base.child_side import child_main
from qdq.base.progress import Progress
from qdq.runtime.litert.model_file import read_tflite
from qdq.runtime.litert.package import load_interpreter, package_version
from qdq.runtime.litert.session import LitertSession, edge_infos, make_interpreter
from qdq.runtime.measure import environment, measure
from qdq.runtime.tensors import Array, TensorInfo

__all__ = ["work"]


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Measure the model of ``spec`` (see ``profile.profile_model``) and return plain figures.

    The first sample is left in the folder for the child that times the ops.
    """
    # What every model needs is loaded before anything is measured.
    load_interpreter()
    figures, sample = measure(_LiteRt(spec), spec, progress)
    return {
        **figures,
        "sample": _write(sample, Path(spec["folder"])),
        "environment": {
            **environment(spec["threads"]),
            "runtime": "LiteRT",
            "litert": package_version(),
            "provider": "XNNPACK",
        },
    }


class _LiteRt:
    """Implements measure.Measured; the file is checked once, which is no part of loading it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._path = spec["model"]
        self._threads = int(spec["threads"])
        self._model = read_tflite(self._path)
        edge_infos(self._model)

    def load(self) -> LitertSession:
        """Load the model anew."""
        interpreter = make_interpreter(self._path, self._model, threads=self._threads)
        return LitertSession(interpreter, self._model)

    def inputs(self, session: LitertSession) -> Sequence[TensorInfo]:
        """Return the model's inputs."""
        return session.inputs

    def run(self, session: LitertSession, sample: dict[str, Array]) -> object:
        """Run one sample."""
        return session.run_values(sample)


def _write(sample: dict[str, Array], folder: Path) -> list[list[str]]:
    import numpy as np

    written = []
    for number, (name, array) in enumerate(sample.items()):
        file = f"first-{number}.npy"
        np.save(os.fspath(folder / file), array, allow_pickle=False)
        written.append([name, file])
    return written


if __name__ == "__main__":
    child_main(work)
