"""What was found about each site, and how much work it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qdq.runtime.metrics import Metrics

__all__ = ["Scores", "Sensitivity", "SiteSensitivity"]


@dataclass(frozen=True, slots=True)
class Scores:
    """How near the outputs are to the float ones: of each metric the least over the outputs.

    None stands for a metric that no output has, or that was not measured.
    """

    sqnr_db: float | None
    psnr_db: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None

    @classmethod
    def of(cls, outputs: Mapping[str, Metrics]) -> Scores:
        """Return the least of each metric over ``outputs``."""
        metrics = tuple(outputs.values())
        return cls(
            sqnr_db=_least(it.sqnr_db for it in metrics),
            psnr_db=_least(it.psnr_db for it in metrics),
            cosine=_least(it.cosine for it in metrics),
            top1_agreement=_least(it.top1_agreement for it in metrics),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SiteSensitivity:
    """One site: ``alone`` with only it quantized, ``without`` with everything else quantized.

    ``share`` is its part of the summed squared errors of all sites alone, the mean over the float
    outputs.  Where ``measured`` is False, ``without`` follows from ``share`` by the additive error
    model, and holds decibels only.
    """

    site: str
    kind: str
    op_type: str
    share: float
    alone: Scores
    without: Scores
    measured: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "site": self.site,
            "kind": self.kind,
            "op_type": self.op_type,
            "share": self.share,
            "alone": self.alone.to_dict(),
            "without": self.without.to_dict(),
            "without_measured": self.measured,
        }


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """All sites in graph order, activations first; ``everything`` is the whole plan's.

    ``passes`` is the work in passes of the float network over the same samples: nodes run, Q/DQ
    among them, by the nodes of the float network.
    """

    sites: tuple[SiteSensitivity, ...]
    everything: Scores
    samples: int
    held_out: bool
    passes: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "samples": self.samples,
            "samples_held_out": self.held_out,
            "float_pass_equivalents": round(self.passes, 2),
            "everything": self.everything.to_dict(),
            "sites": [site.to_dict() for site in self.sites],
        }


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
