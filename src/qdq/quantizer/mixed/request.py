"""What of mixed precision a job asks for, and what that needs of the stages before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qdq.base.accuracy_bound import AccuracyBound, bounds_of
from qdq.base.options import Options
from qdq.quantizer.mixed.share import Share, wanted_share
from qdq.quantizer.mixed.space import WIDE_BITS
from qdq.quantizer.placement import Placement

__all__ = ["MixedRequest", "mixed_request"]


@dataclass(frozen=True, slots=True)
class MixedRequest:
    """``--lite_mp``, ``--accuracy_bound`` and ``--pareto``."""

    share: Share | None
    bounds: tuple[AccuracyBound, ...]
    curve: bool

    @property
    def searches(self) -> bool:
        """Whether sets of widths are to be measured."""
        return bool(self.bounds) or self.curve

    @property
    def bits(self) -> tuple[int, ...]:
        """The widths that nodes may get beside the job's."""
        wide = self.searches or (self.share is not None and self.share.qtype == "int16")
        return (WIDE_BITS,) if wide else ()

    def observed(self, placement: Placement) -> Placement:
        """Return ``placement`` with a site of its own for every tensor, to collect statistics of.

        Other widths have other ties, and no fixed ranges.
        """
        if self.share is None and not self.searches:
            return placement
        untied = tuple(
            replace(site, owner=site.tensor, fixed=None)
            for site in placement.activations
            if site.owner != site.tensor or site.fixed is not None
        )
        return replace(placement, activations=(*placement.activations, *untied))


def mixed_request(options: Options) -> MixedRequest:
    """Return what ``options`` ask for; raise OptionError or PrecisionError."""
    return MixedRequest(
        share=wanted_share(options, options.get_text("quantize_target")),
        bounds=bounds_of(options),
        curve=options.get_flag("pareto"),
    )
