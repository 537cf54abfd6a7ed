"""``--compute_unit``: what is asked for against what runs a model, which its runtime decides."""

from __future__ import annotations

from qdq.base.errors import OptionError
from qdq.base.options import Options

__all__ = ["check_units", "unused_units"]

_ALL = "all"
_NAMES = {"cpu": "the CPU", "gpu": "a GPU", "npu": "an NPU"}
_CPU, _NPU = "cpu", "npu"


def check_units(options: Options, *, qnn: bool) -> None:
    """Raise OptionError unless the one unit that runs the model is among those that are asked for.

    A model for QNN runs on the NPU alone, whole; any other on the CPU of the machine that runs it.
    """
    units = _asked(options)
    if not units or _ALL in units or (_NPU if qnn else _CPU) in units:
        return
    asked = " or ".join(_NAMES[unit] for unit in units)
    if qnn:
        raise OptionError(
            f"--compute_unit {','.join(units)}: a model for QNN runs on the NPU, and no part of it "
            f"on {asked}",
            remedy="Give npu or all; for the CPU, compile with --target_runtime onnx or tflite",
        )
    raise OptionError(
        f"--compute_unit {','.join(units)}: no device of this version has {asked} that qdq can "
        "run ONNX or TFLite models on",
        remedy="Give cpu or all; for the NPU of a phone, compile with --target_runtime "
        "qnn_context_binary",
    )


def unused_units(options: Options, *, qnn: bool) -> str | None:
    """Return the sentence on units that were asked for beside the one that runs the model."""
    used = _NPU if qnn else _CPU
    spare = [unit for unit in _asked(options) if unit not in (used, _ALL)]
    if not spare:
        return None
    names = " and ".join(spare)
    if qnn:
        return f"--compute_unit: {names} have no part in a model for QNN: the NPU does it all"
    return f"--compute_unit: {names} cannot be used on this machine, so the CPU does it all"


def _asked(options: Options) -> tuple[str, ...]:
    units = options.get("compute_unit")
    return tuple(map(str, units)) if isinstance(units, tuple) else ()
