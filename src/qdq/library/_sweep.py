"""Quantize a model in several ways, and tell them side by side."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qdq.base.errors import OptionError, QdqError
from qdq.base.options import JobKind, parse_options, split_options
from qdq.base.precision import check_quantize_target, check_widths
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.library._quantize import QuantizeResult, quantize
from qdq.library._sources import ModelSource, SampleSource

__all__ = ["SweepResult", "SweepRow", "sweep"]

# Of the JSON document; it grows by fields, and this number when one changes its meaning.
_SCHEMA = "qdq.sweep/1"
_METRICS = ("sqnr_db", "psnr_db", "cosine", "max_abs", "top1_agreement")


@dataclass(frozen=True, slots=True)
class _OptionSet:
    """One entry: the text as given, and the dtypes and job options that it holds."""

    text: str
    weights: str
    activations: str
    options: str


@dataclass(frozen=True, slots=True)
class SweepRow:
    """What one option set came to; ``error`` is that of a set that failed, which has no figures.

    ``outputs`` maps outputs to metrics against the float model on the report split, which is the
    same samples for all sets; ``weight_bytes`` are those of the quantized weights as integers.
    """

    options: str
    precision: str
    outputs: dict[str, dict[str, float | None]]
    weight_bytes: int
    nodes_by_bits: dict[int, int]
    float_islands: int
    held_out: bool
    seconds: float
    error: dict[str, Any] | None = None

    @property
    def worst_sqnr(self) -> float | None:
        """The SQNR in dB of the output that has the least; None where no output is float."""
        known = [it["sqnr_db"] for it in self.outputs.values()]
        return min((it for it in known if it is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "options": self.options,
            "precision": self.precision,
            "outputs": self.outputs,
            "worst_sqnr_db": self.worst_sqnr,
            "weight_bytes": self.weight_bytes,
            "nodes_by_bits": {str(bits): n for bits, n in sorted(self.nodes_by_bits.items())},
            "float_islands": self.float_islands,
            "held_out": self.held_out,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The rows in the order in which the sets were given."""

    rows: tuple[SweepRow, ...]

    @property
    def best(self) -> SweepRow | None:
        """The row with the largest ``worst_sqnr``, the first of equals; None without figures."""
        told = [row for row in self.rows if row.worst_sqnr is not None]
        return max(told, key=lambda row: row.worst_sqnr or 0.0, default=None)

    @property
    def failed(self) -> int:
        """How many sets failed."""
        return sum(row.error is not None for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``schema`` numbers it."""
        return {
            "schema": _SCHEMA,
            "rows": [row.to_dict() for row in self.rows],
            "best": None if self.best is None else self.rows.index(self.best),
            "failed": self.failed,
        }


def sweep(
    model: ModelSource,
    calibration: SampleSource,
    option_sets: Sequence[str],
    *,
    weights: str = "int8",
    activations: str = "int8",
    progress: Progress = NO_PROGRESS,
) -> SweepResult:
    """Quantize ``model`` once for each of ``option_sets``, and return their figures.

    A set is the text of job options, which may also hold ``--weights`` and ``--activations``.  All
    sets are checked before the first one runs: OptionError or PrecisionError for one that is wrong.
    A set that fails while it runs, such as for an expression that matches nothing, has its error
    in its row, and the others go on.  Nothing is written.
    """
    sets = [_read(text, weights, activations) for text in option_sets]
    if not sets:
        raise OptionError("There is no option set", remedy="Give at least one")
    return SweepResult(tuple(_row(model, calibration, it, progress) for it in sets))


def _read(text: str, weights: str, activations: str) -> _OptionSet:
    """Take the dtypes out of a set, and check what is left."""
    dtypes = {"weights": weights, "activations": activations}
    words = []
    for given in split_options(text):
        if given.name not in dtypes:
            words.append(f"--{given.name}")
            words += [] if given.value is None else [shlex.quote(given.value)]
        elif given.value is None:
            raise OptionError(f"Option --{given.name} needs a value", remedy="Give a dtype")
        else:
            dtypes[given.name] = given.value
    options = " ".join(words)
    parsed = parse_options(JobKind.QUANTIZE, options)
    target = parsed.get_text("quantize_target")
    check_quantize_target(dtypes["weights"], dtypes["activations"], target)
    asked = (value for _, value in parsed.get_assignments("override"))
    check_widths(dtypes["weights"], asked, target)
    return _OptionSet(text.strip(), dtypes["weights"], dtypes["activations"], options)


def _row(
    model: ModelSource, calibration: SampleSource, chosen: _OptionSet, progress: Progress
) -> SweepRow:
    start = time.perf_counter()
    try:
        done = quantize(
            model,
            calibration,
            weights=chosen.weights,
            activations=chosen.activations,
            options=chosen.options,
            progress=progress,
        )
    except QdqError as error:
        seconds = time.perf_counter() - start
        return SweepRow(chosen.text, "", {}, 0, {}, 0, False, seconds, error.to_dict())
    return _told(chosen, done, time.perf_counter() - start)


def _told(chosen: _OptionSet, done: QuantizeResult, seconds: float) -> SweepRow:
    plan = done.report.plan
    return SweepRow(
        options=chosen.text,
        precision=done.precision.name,
        outputs={
            name: {key: getattr(metrics, key) for key in _METRICS}
            for name, metrics in done.report.outputs.items()
        },
        weight_bytes=_weight_bytes(done),
        nodes_by_bits=dict(done.report.nodes_by_bits),
        float_islands=len(plan.islands),
        held_out=done.report.held_out,
        seconds=seconds,
    )


def _weight_bytes(done: QuantizeResult) -> int:
    initializers = done.model.graph.initializers
    total = 0
    for planned in done.report.plan.weights:
        value = initializers.get(planned.site.tensor)
        if value is not None and value.const_value is not None:
            total += value.const_value.size * planned.encoding.bits
    return (total + 7) // 8
