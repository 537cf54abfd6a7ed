"""Run, profile and compare models on the CPU: with ONNX Runtime, and ``.tflite`` with LiteRT.

Names are imported on first use: the child that profiles measures its own memory, and is to import
no more of this room than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdq.runtime.compare import (
        Comparison,
        Divergence,
        Skipped,
        TensorComparison,
        compare_models,
    )
    from qdq.runtime.compare_files import compare_outputs
    from qdq.runtime.metrics import Metrics, MetricsStream, WorstSample
    from qdq.runtime.nodes import NodeTime
    from qdq.runtime.port import Session
    from qdq.runtime.profile import Phase, Profile, profile_model
    from qdq.runtime.run import input_layouts, iter_run, run_model
    from qdq.runtime.session import OrtSession, open_session, value_dtypes
    from qdq.runtime.sessions import open_runnable
    from qdq.runtime.tensors import TensorInfo, check_sample

__all__ = [
    "Comparison",
    "Divergence",
    "Metrics",
    "MetricsStream",
    "NodeTime",
    "OrtSession",
    "Phase",
    "Profile",
    "Session",
    "Skipped",
    "TensorComparison",
    "TensorInfo",
    "WorstSample",
    "check_sample",
    "compare_models",
    "compare_outputs",
    "input_layouts",
    "iter_run",
    "open_runnable",
    "open_session",
    "profile_model",
    "run_model",
    "value_dtypes",
]

_HOMES = {
    **dict.fromkeys(
        ("Comparison", "Divergence", "Skipped", "TensorComparison", "compare_models"), "compare"
    ),
    "compare_outputs": "compare_files",
    **dict.fromkeys(("Metrics", "MetricsStream", "WorstSample"), "metrics"),
    "NodeTime": "nodes",
    **dict.fromkeys(("Phase", "Profile", "profile_model"), "profile"),
    **dict.fromkeys(("input_layouts", "iter_run", "run_model"), "run"),
    "Session": "port",
    **dict.fromkeys(("OrtSession", "open_session", "value_dtypes"), "session"),
    "open_runnable": "sessions",
    **dict.fromkeys(("TensorInfo", "check_sample"), "tensors"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qdq.runtime' has no attribute '{name}'")
    value = getattr(import_module(f"qdq.runtime.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
