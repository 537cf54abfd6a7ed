"""What is compared: each method's environment, driver and settings, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DEFAULT", "METHODS", "PRECISIONS", "Method"]

PRECISIONS = ("w8a8", "w8a16", "w4a8", "w4a16")


@dataclass(frozen=True, slots=True)
class Method:
    """``driver`` is a function of ``drive``; ``rival`` is the method of ours that covers the same
    sites and is compared with it (None: it is ours)."""

    environment: str
    driver: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    precisions: tuple[str, ...] = PRECISIONS
    rival: str | None = None


def _qdq(target: str, **options: str) -> Method:
    return Method("qdq", "qdq", {"quantize_target": target, **options})


def _ort(method: str) -> Method:
    return Method("onnxruntime", "onnxruntime", {"calibration": method}, rival="qdq-x86")


def _aimet(scheme: str, **settings: Any) -> Method:
    return Method("aimet", "aimet", {"scheme": scheme, **settings}, rival="qdq")


def _quark(method: str, **settings: Any) -> Method:
    given = {"calibration": method, **settings}
    return Method("quark", "quark", given, ("w8a8", "w8a16"), rival="qdq-x86")


def _modelopt(method: str) -> Method:
    return Method("modelopt", "modelopt", {"calibration": method}, ("w8a8",), rival="qdq-x86")


METHODS: dict[str, Method] = {
    # Ours on Hexagon's sites, as AIMET has them, and on those of ONNX Runtime's x86 kernels.
    "qdq": _qdq("portable"),
    "qdq-x86": _qdq("ort-x86"),
    "qdq-nearest": _qdq("portable", rounding="nearest"),
    "qdq-minmax": _qdq("portable", range_scheme="min_max", rounding="nearest"),
    "ort-minmax": _ort("MinMax"),
    "ort-percentile": _ort("Percentile"),
    "ort-entropy": _ort("Entropy"),
    "aimet-minmax": _aimet("min_max"),
    "aimet-tfe": _aimet("tf_enhanced"),
    "aimet-seqmse": _aimet("min_max", seq_mse=True),
    "aimet-adaround": _aimet("min_max", adaround=300),
    "nncf": Method("nncf", "nncf", {}, ("w8a8",), rival="qdq-x86"),
    "nncf-bc": Method("nncf", "nncf", {"fast": False}, ("w8a8",), rival="qdq-x86"),
    "quark-minmax": _quark("MinMax"),
    "quark-percentile": _quark("Percentile"),
    "modelopt-entropy": _modelopt("entropy"),
    "modelopt-max": _modelopt("max"),
}
DEFAULT = tuple(name for name in METHODS if name not in ("aimet-seqmse", "aimet-adaround"))
