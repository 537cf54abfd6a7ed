"""What a verification found, for the job's log, its report and its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from qdq.base.errors import VerificationError
from qdq.target.tflite.verify.check import OpCheck, Status, Unit
from qdq.target.tflite.verify.endtoend import EndToEnd

__all__ = ["Verification", "merged"]

_NAMED_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Verification:
    """``checks``: the worst of all samples, one an operator's output and kernel.

    ``refused`` holds why the runtime refuses the model: by the kernels' name, and as ``deployed``
    where XNNPACK may fuse operators.  ``overwritten`` names outputs that come out otherwise where
    the runtime uses memory again.
    """

    checks: tuple[OpCheck, ...]
    outputs: tuple[EndToEnd, ...]
    refused: dict[str, str]
    samples: int
    overwritten: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence a failure; empty where the model passed."""
        return tuple(self._sentences())

    @property
    def unchecked(self) -> tuple[OpCheck, ...]:
        """The operators' outputs of which nothing is known."""
        return tuple(check for check in self.checks if check.status is Status.UNCHECKED)

    def require(self) -> Verification:
        """Return this.  Raises VerificationError with all that failed."""
        failures = self.failures
        if failures:
            named = "; ".join(failures[:_NAMED_FAILURES])
            more = len(failures) - _NAMED_FAILURES
            rest = f"; and {more} more" if more > 0 else ""
            raise VerificationError(
                f"The TFLite model does not compute what its source does: {named}{rest}",
                remedy="Report it with the model; until then compile without these operators",
            )
        return self

    def summary_lines(self) -> list[str]:
        """Return what the job's log says of it."""
        return [*self._totals(), *map(_output_line, self.outputs), *self._unchecked_lines()]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "passed": not self.failures,
            "failures": list(self.failures),
            "samples": self.samples,
            "refused": dict(self.refused),
            "overwritten": list(self.overwritten),
            "ops": [check.to_dict() for check in self.checks],
            "outputs": [output.to_dict() for output in self.outputs],
        }

    def _sentences(self) -> Iterator[str]:
        for kernels, reason in self.refused.items():
            yield f"{reason} ({kernels} kernels)"
        for check in self.checks:
            if check.status is Status.FAILED:
                yield f"{_place(check)}: {check.reason}{_figures(check)}"
        for output in self.outputs:
            if output.reason:
                yield f"output '{output.output}': {output.reason}"
        for name in self.overwritten:
            yield f"output '{name}': builtin kernels overwrite a tensor that is still read"

    def _totals(self) -> Iterator[str]:
        for unit, text in ((Unit.LSB, "integer"), (Unit.RELATIVE, "float"), (Unit.WRONG, "exact")):
            done = [c for c in self.checks if c.unit is unit and c.status is not Status.UNCHECKED]
            if not done:
                continue
            failed = sum(check.status is Status.FAILED for check in done)
            worst = max(done, key=lambda check: check.max_error)
            yield (
                f"Verified {len(done)} {text} results of {len({c.index for c in done})} operators:"
                f" {failed} out of tolerance, largest error {_amount(worst)} ({worst.name})"
            )

    def _unchecked_lines(self) -> Iterator[str]:
        reasons = Counter((check.name, check.reason) for check in self.unchecked)
        for (name, reason), count in sorted(reasons.items()):
            yield f"Not checked: {count} results of {name}: {reason}"


def merged(checks: Iterable[OpCheck]) -> tuple[OpCheck, ...]:
    """Return the worst check of each operator's output and kernel, in the model's order."""
    worst: dict[tuple[int, str, str], OpCheck] = {}
    for check in checks:
        key = (check.index, check.tensor, check.kernels)
        worst[key] = _worse(worst[key], check) if key in worst else check
    return tuple(worst[key] for key in sorted(worst, key=lambda key: (key[0], key[2])))


def _worse(a: OpCheck, b: OpCheck) -> OpCheck:
    order = [Status.PASSED, Status.UNCHECKED, Status.FAILED]
    one = max(a, b, key=lambda check: (order.index(check.status), check.max_error))
    elements = a.elements + b.elements
    off = a.share_off * a.elements + b.share_off * b.elements
    return replace(one, elements=elements, share_off=off / max(1, elements))


def _place(check: OpCheck) -> str:
    return f"{check.name} {check.index} ({check.dtype}, {check.kernels}) making '{check.tensor}'"


def _figures(check: OpCheck) -> str:
    if not check.elements:
        return ""
    return f" ({_amount(check)} off in {check.share_off:.2%} of it; {check.tolerance:g} allowed)"


def _amount(check: OpCheck) -> str:
    if check.unit is Unit.LSB:
        return f"{check.max_error:.0f} LSB"
    if check.unit is Unit.WRONG:
        return f"{check.max_error:.0f} values"
    return f"{check.max_error:.1e} of the maximum"


def _output_line(output: EndToEnd) -> str:
    parts = []
    if output.tflite_db is not None:
        parts.append(f"{output.tflite_db:.1f} dB")
    if output.qdq_db is not None:
        parts[-1] += f" (QDQ model {output.qdq_db:.1f} dB)"
    if parts:
        parts[-1] += f" against the {output.basis} model"
    if output.agreement_db is not None and output.qdq_db is not None:
        parts.append(f"{output.agreement_db:.1f} dB against the QDQ model")
    if output.agreement is not None:
        parts.append(f"{output.agreement:.2%} of its values equal")
    if output.top1 is not None:
        parts.append(f"top-1 agreement {output.top1:.1%}")
    return f"Output '{output.output}' over {output.samples} samples: {', '.join(parts)}"
