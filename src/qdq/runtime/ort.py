"""ONNX Runtime itself: options, loading, and its words for names, dtypes and shapes.

Apart from ``session`` so that the profiling child, whose memory is measured, imports no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdq.base.errors import InternalError, UnsupportedError
from qdq.base.quiet import silence_libraries
from qdq.runtime.ort_errors import load_error
from qdq.runtime.tensors import Array, TensorInfo, check_sample

__all__ = [
    "Array",
    "TensorInfo",
    "check_sample",
    "dtype_name",
    "import_runtime",
    "load_session",
    "session_options",
    "tensor_info",
]

_PROVIDERS = ("CPUExecutionProvider",)
# Fatal only: failures arrive as exceptions with the whole message, which the log would repeat.
_LOG_SEVERITY = 4
_TENSOR = "tensor("
_DTYPE_OF_ORT = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "bool": "bool",
    "string": "str",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)},
}


def import_runtime() -> Any:
    """Import ONNX Runtime, which shall report nothing."""
    silence_libraries()
    import onnxruntime as ort

    return ort


def session_options(
    *,
    optimize: bool,
    threads: int,
    spin: bool,
    integer_kernels: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """Return SessionOptions for the CPU; the parameters are those of ``open_session``."""
    ort = import_runtime()
    options = ort.SessionOptions()
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = _LOG_SEVERITY
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    if not integer_kernels:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    for key, value in (settings or {}).items():
        _apply(options, key, value, ort)
    return options


def _apply(options: Any, key: str, value: str, ort: Any) -> None:
    """Set one key of ``--onnx_options``, whose value the option table has checked."""
    match key:
        case "execution_mode":
            options.execution_mode = getattr(ort.ExecutionMode, f"ORT_{value}")
        case "graph_optimization_level":
            level = getattr(ort.GraphOptimizationLevel, f"ORT_{value}")
            options.graph_optimization_level = level
        case "intra_op_num_threads" | "inter_op_num_threads":
            setattr(options, key, int(value))
        case "enable_memory_pattern":
            options.enable_mem_pattern = value == "true"
        case "enable_cpu_memory_arena":
            options.enable_cpu_mem_arena = value == "true"
        case _:
            raise InternalError(f"There is no setting '{key}' of ONNX Runtime")


def load_session(source: str | bytes, options: Any) -> Any:
    """Return an InferenceSession over a path or bytes; failures are leaves of the error tree."""
    ort = import_runtime()
    try:
        return ort.InferenceSession(source, options, providers=list(_PROVIDERS))
    except Exception as error:
        raise load_error(error) from error


def tensor_info(info: Any) -> TensorInfo:
    """Return the TensorInfo of an ORT NodeArg; UnsupportedError when it is no plain tensor."""
    if not str(info.type).startswith(_TENSOR):
        raise UnsupportedError(
            f"It has the type '{info.type}', and only tensors can be given or returned",
            remedy="Export the model with plain tensors as inputs and outputs",
            tensor=info.name,
        )
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else None for dim in info.shape)
    return TensorInfo(info.name, dtype_name(str(info.type)), shape)


def dtype_name(ort_type: str) -> str:
    """Return numpy's name for ONNX Runtime's type, or the type itself where there is none."""
    if not ort_type.startswith(_TENSOR):
        return ort_type
    kind = ort_type.removeprefix(_TENSOR).removesuffix(")")
    return _DTYPE_OF_ORT.get(kind, kind)
