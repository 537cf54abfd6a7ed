"""Bounds on accuracy, as ``--accuracy_bound`` states them: ``sqnr>=30``, ``y:cosine>=0.99``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from qdq.base.errors import OptionError
from qdq.base.options import Options

__all__ = ["AccuracyBound", "bounds_of", "parse_bounds"]

_BOUND = re.compile(
    r"(?:(.+):)?(sqnr|cosine|psnr|top1_agreement)>=(-?[0-9]{1,6}(?:\.[0-9]{1,20})?)"
)
_HIGHEST = {"sqnr": 200.0, "psnr": 100.0, "cosine": 1.0, "top1_agreement": 1.0}
_IN_DB = ("sqnr", "psnr")


@dataclass(frozen=True, slots=True)
class AccuracyBound:
    """``metric`` is to be at least ``least``, for ``output`` or, where None, for every output.

    ``sqnr`` and ``psnr`` are in dB; ``cosine`` is over all samples as one vector;
    ``top1_agreement`` is a share from 0 to 1.
    """

    metric: str
    least: float
    output: str | None = None

    @property
    def text(self) -> str:
        """The bound as users write it."""
        name = "" if self.output is None else f"{self.output}:"
        return f"{name}{self.metric}>={self.least:g}"

    def raised(self, margin_db: float) -> AccuracyBound:
        """Return the bound for errors whose energy is smaller by ``margin_db``.

        One less the cosine goes with that energy; so does, roughly, the share of changed labels.
        """
        if self.metric in _IN_DB:
            return AccuracyBound(self.metric, self.least + margin_db, self.output)
        least = 1.0 - (1.0 - self.least) * 10 ** (-margin_db / 10)
        return AccuracyBound(self.metric, least, self.output)


def parse_bounds(texts: Iterable[str]) -> tuple[AccuracyBound, ...]:
    """Return the bounds; raise OptionError for what is none, is out of reach, or stands twice."""
    bounds: dict[tuple[str | None, str], AccuracyBound] = {}
    for text in texts:
        found = _BOUND.fullmatch(text.replace(" ", ""))
        if found is None:
            raise OptionError(
                f"'{text}' is not a bound of --accuracy_bound",
                remedy="Write METRIC>=VALUE or OUTPUT:METRIC>=VALUE with sqnr, psnr, cosine or "
                "top1_agreement, in quotes for the shell",
            )
        output, metric, value = found.groups()
        highest = _HIGHEST[metric]
        if float(value) > highest:
            raise OptionError(
                f"No model reaches --accuracy_bound {text}",
                remedy=f"Give at most {highest:g} for {metric}",
            )
        bound = AccuracyBound(metric, float(value), output)
        if bounds.setdefault((output, metric), bound) != bound:
            raise OptionError(
                f"--accuracy_bound bounds {metric} twice, by '{bounds[output, metric].text}' and "
                f"'{text}'",
                remedy="Keep one of them",
            )
    return tuple(bounds.values())


def bounds_of(options: Options) -> tuple[AccuracyBound, ...]:
    """Return the bounds that the options of a quantize job give; raise OptionError."""
    texts = options.get("accuracy_bound") or ()
    return parse_bounds(map(str, texts)) if isinstance(texts, tuple) else ()
