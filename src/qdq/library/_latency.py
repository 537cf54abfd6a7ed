"""How long a quantized model takes on this machine, for the curve of widths against accuracy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import onnx_ir as ir

from qdq.base.errors import QdqError
from qdq.dataset import Samples
from qdq.quantizer import Latency
from qdq.runtime.session import Array, OrtSession, open_session
from qdq.target.onnx import compile_onnx

__all__ = ["host_latency"]

_RUNS, _SECONDS = 30, 2.0


def host_latency(samples: Samples) -> Latency:
    """Return what measures a QDQ model, which it uses up, compiled for ONNX Runtime.

    Milliseconds of a run on one thread, the median over _RUNS of them or as many as _SECONDS take;
    None where ONNX Runtime cannot run the model.
    """

    def measured(model: ir.Model) -> float | None:
        try:
            compile_onnx(model)
            with open_session(model, threads=1) as session:
                sample = samples[0]
                session.run_values(sample)
                return 1e3 * statistics.median(_times(session, sample))
        except QdqError:
            return None

    return measured


def _times(session: OrtSession, sample: Mapping[str, Array]) -> list[float]:
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < _RUNS and (not times or time.perf_counter() - begin < _SECONDS):
        start = time.perf_counter()
        session.run_values(sample)
        times.append(time.perf_counter() - start)
    return times
