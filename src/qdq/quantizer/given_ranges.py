"""Ranges that the user gives, in place of what calibration would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from qdq.base.errors import OptionError
from qdq.quantizer.encoding import asymmetric_encoding, symmetric_encoding
from qdq.quantizer.placement import ActivationSite, ConvertSite, Placement

__all__ = ["give_ranges"]

Bounds = tuple[float, float]
_SYMMETRIC_BITS = 16


def give_ranges(
    placement: Placement, ranges: Sequence[tuple[str, Bounds]], *, bits: int
) -> Placement:
    """Return ``placement`` with the encodings of ``ranges`` (tensor -> low, high) fixed.

    A range holds for all tensors that share the named one's encoding.  It is widened to hold zero,
    and made symmetric where the site is.  ``bits`` is the setting's width.  Raises OptionError for
    a tensor that has no encoding, and for two ranges of one encoding.
    """
    if not ranges:
        return placement
    owners = {site.tensor: site.owner for site in placement.activations}
    given: dict[str, tuple[str, Bounds]] = {}
    for name, bounds in ranges:
        if name not in owners:
            near = get_close_matches(name, owners, n=3, cutoff=0.3) or list(owners)[:3]
            raise OptionError(
                f"Option --range: '{name}' is no tensor that gets an encoding",
                remedy=f"The nearest ones are {', '.join(map(repr, near))}",
            )
        other, present = given.setdefault(owners[name], (name, bounds))
        if present != bounds:
            raise OptionError(
                f"Option --range: '{name}' and '{other}' share one encoding, but get two ranges",
                remedy="Give the same range to both, or to one of them",
            )
    return replace(
        placement,
        activations=tuple(_activation(it, given, bits) for it in placement.activations),
        converts=tuple(_convert(it, given) for it in placement.converts),
    )


def _activation(
    site: ActivationSite, given: dict[str, tuple[str, Bounds]], bits: int
) -> ActivationSite:
    if site.owner not in given:
        return site
    name, bounds = given[site.owner]
    fixed = _encoding(bounds, site.bits or bits, symmetric=site.symmetric)
    rule = f"{site.rule.removesuffix(', fixed range')}, range given by --range {name}"
    return replace(site, fixed=fixed, rule=rule, given=True)


def _convert(site: ConvertSite, given: dict[str, tuple[str, Bounds]]) -> ConvertSite:
    if site.owner not in given:
        return site
    _, bounds = given[site.owner]
    fixed = _encoding(bounds, site.bits, symmetric=site.symmetric)
    return replace(site, fixed=fixed, given=True)


def _encoding(bounds: Bounds, bits: int, *, symmetric: bool) -> tuple[float, int]:
    low, high = bounds
    if symmetric or bits >= _SYMMETRIC_BITS:
        made = symmetric_encoding(max(-low, high), bits=bits)
    else:
        made = asymmetric_encoding(low, high, bits=bits)
    return made.scale[0], made.zero_point[0]
