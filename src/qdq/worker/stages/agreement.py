"""How far outputs of the HTP simulator are from ONNX Runtime's on the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from qdq import library
from qdq.base.errors import SpecError
from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.worker.stages.files import find_input, open_source
from qdq.worker.stages.log import log

__all__ = ["Agreement", "agreement_with"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_REFERENCE = "reference.h5"
# Options of a compile job that are for QNN alone; the others shape inputs and outputs.
_QNN_ONLY = (
    "target_runtime",
    "qnn_graph_name",
    "qnn_options",
    "qnn_context_binary_vtcm",
    "qnn_context_binary_optimization_level",
    "qairt_version",
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """One output over all samples; ``sqnr_db`` is None where both are equal.

    SQNR is 10 log10 (sum of squares of ONNX Runtime's output / sum of squared differences).
    """

    output: str
    sqnr_db: float | None
    max_abs: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def agreement_with(
    outputs: str,
    data: Path | str,
    *,
    source: Path | None,
    origin: Mapping[str, Any] | None,
    dequantized: bool,
) -> tuple[Agreement, ...]:
    """Run the ``source`` or ``origin`` with ONNX Runtime, and compare; nothing where there is none.

    Integers that stand for real numbers are compared as those.  Raises the errors of compiling and
    running, and SpecError where outputs do not fit one another.
    """
    model: Path | ir.Model | None = source
    specs: tuple[library.IoSpec, ...] = ()
    if source is not None:
        specs = library.inspect(source).output_spec
    elif origin is not None and find_input("origin") is not None:
        compiled = _compile(origin)
        model, specs = compiled.model, compiled.output_spec  # type: ignore[assignment]
    if model is None:
        return ()
    library.run(model, data, _REFERENCE)
    encodings = {it.name: (it.scale, it.zero_point or 0) for it in specs if it.scale is not None}
    found = _compare(Path(_REFERENCE), Path(outputs), encodings, dequantized=dequantized)
    Path(_REFERENCE).unlink()
    return found


def _compile(origin: Mapping[str, Any]) -> library.CompileResult:
    options = parse_options(JobKind.COMPILE, origin.get("options", "")).without(*_QNN_ONLY)
    log("compiling the model that it was made from for ONNX Runtime, to compare")
    return library.compile(
        open_source("origin"),
        options=f"--target_runtime onnx {options.to_text()}",
        input_specs=origin.get("input_specs") or None,
    )


def _compare(
    reference: Path,
    outputs: Path,
    encodings: Mapping[str, tuple[float | None, int]],
    *,
    dequantized: bool,
) -> tuple[Agreement, ...]:
    sums: dict[str, list[float]] = {}
    with open_samples(reference) as wanted, open_samples(outputs) as given:
        if set(wanted.names) != set(given.names):
            raise SpecError(f"The outputs are called {given.names}, there {wanted.names}")
        for one, other in zip(wanted, given, strict=True):
            for name in wanted.names:
                real = _real(one[name], encodings.get(name))
                mine = other[name]
                got = mine.astype(np.float64) if dequantized else _real(mine, encodings.get(name))
                if real.shape != got.shape:
                    raise SpecError(f"Output '{name}' is {got.shape}, there {real.shape}")
                _add(sums.setdefault(name, [0.0, 0.0, 0.0]), real, real - got)
    return tuple(Agreement(name, _db(it[0], it[1]), it[2]) for name, it in sums.items())


def _real(values: Array, encoding: tuple[float | None, int] | None) -> Array:
    numbers: Array = values.astype(np.float64)
    if encoding is None or encoding[0] is None or values.dtype.kind == "f":
        return numbers
    return (numbers - encoding[1]) * encoding[0]


def _add(sums: list[float], real: Array, difference: Array) -> None:
    sums[0] += float(np.square(real).sum())
    sums[1] += float(np.square(difference).sum())
    sums[2] = max(sums[2], float(np.abs(difference).max(initial=0.0)))


def _db(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
