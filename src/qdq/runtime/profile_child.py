"""The child of ``profile`` for ONNX: times and memory, and then the time of each node.

It imports numpy and ONNX Runtime only, so that the memory it reports is the model's.  The node
profile comes last: its own cost must not reach the times.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdq.base.child_side import child_main
from qdq.base.progress import Progress
from qdq.runtime.measure import environment, measure
from qdq.runtime.ort import import_runtime, load_session, session_options, tensor_info
from qdq.runtime.ort_errors import run_error
from qdq.runtime.tensors import Array, TensorInfo

__all__ = ["work"]

_NODE_RUNS = 10


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Measure the model of ``spec`` (see ``profile.profile_model``) and return plain figures."""
    _settle()
    figures, sample = measure(_OnnxRuntime(spec), spec, progress)
    return {
        **figures,
        "nodes": _node_events(spec, sample),
        "environment": _environment(spec),
    }


def _options(spec: dict[str, Any]) -> Any:
    return session_options(
        optimize=True, threads=spec["threads"], spin=True, settings=spec["settings"]
    )


class _OnnxRuntime:
    """Implements measure.Measured."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._path = spec["model"]
        self._options = _options(spec)

    def load(self) -> Any:
        """Load the model anew."""
        return load_session(self._path, self._options)

    def inputs(self, session: Any) -> Sequence[TensorInfo]:
        """Return the model's inputs."""
        return tuple(map(tensor_info, session.get_inputs()))

    def run(self, session: Any, sample: dict[str, Array]) -> object:
        """Run one sample."""
        try:
            return session.run(None, sample)
        except Exception as error:
            raise run_error(error) from error


def _node_events(spec: dict[str, Any], sample: dict[str, Array]) -> str:
    options = _options(spec)
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(spec["folder"]) / "nodes")
    session = load_session(spec["model"], options)
    runtime = _OnnxRuntime(spec)
    deadline = time.monotonic() + float(spec["max_time"])
    # The first run is not counted; a second one always is.
    for done in range(_NODE_RUNS + 1):
        runtime.run(session, sample)
        if done and time.monotonic() > deadline:
            break
    return Path(session.end_profiling()).name


def _settle() -> None:
    # What every model needs is loaded before anything is measured.
    import_runtime().get_available_providers()


def _environment(spec: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, str] = spec["settings"]
    return {
        **environment(int(settings.get("intra_op_num_threads", spec["threads"]))),
        "runtime": "ONNX Runtime",
        "onnxruntime": str(import_runtime().__version__),
        "settings": ";".join(f"{key}={value}" for key, value in settings.items()),
        "provider": "CPUExecutionProvider",
    }


if __name__ == "__main__":
    child_main(work)
