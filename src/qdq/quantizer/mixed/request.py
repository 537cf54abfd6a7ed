"""What of mixed precision a job asks for, and what that needs of the stages before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qdq.base.accuracy_bound import AccuracyBound, bounds_of
from qdq.base.options import Options
from qdq.quantizer.mixed.share import Share, wanted_share
from qdq.quantizer.mixed.space import WIDE_BITS
from qdq.quantizer.placement import Placement
from qdq.quantizer.settings import Settings

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

    def widen(self, settings: Settings) -> Settings:
        """Return the settings with the widths that nodes may get."""
        wide = self.searches or (self.share is not None and self.share.qtype == "int16")
        if not wide or WIDE_BITS in settings.extra_bits:
            return settings
        return replace(settings, extra_bits=(*settings.extra_bits, WIDE_BITS))

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


def mixed_request(options: Options, settings: Settings) -> MixedRequest:
    """Return what ``options`` ask for; raise OptionError or PrecisionError."""
    return MixedRequest(
        share=wanted_share(options, settings.target),
        bounds=bounds_of(options),
        curve=options.get_flag("pareto"),
    )
