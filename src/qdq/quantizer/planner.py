"""From placement and statistics to the plan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qdq.base.errors import InternalError, ModelInvalidError
from qdq.quantizer.calibrate import CalibrationRequest, Statistics
from qdq.quantizer.encoding import Encoding, FloatArray, weight_encoding
from qdq.quantizer.guards import ScaleLimits, enlarge_scales, minimum_scales
from qdq.quantizer.histogram import Histogram
from qdq.quantizer.placement import (
    ActivationSite,
    ConstantSite,
    ConvertSite,
    Island,
    Placement,
    WeightSite,
)
from qdq.quantizer.plan import (
    PlannedActivation,
    PlannedConstant,
    PlannedConvert,
    PlannedWeight,
    QuantizationPlan,
)
from qdq.quantizer.ranges import ChosenRange, choose_range
from qdq.quantizer.reads import ReadEncodings
from qdq.quantizer.settings import Settings
from qdq.quantizer.weights import importance_rows, min_max_scales, mse_scales, rows_by_channel

__all__ = ["initializer", "make_plan", "needed_scales", "statistics_request"]

# 16-bit activations are symmetric: stored uint16 with zero point 32768, they equal int16 with
# zero point 0, the only form that TFLite has.
_SYMMETRIC_BITS = 16

# Ranges by which extremes are enough.
_EXTREMES = ("min_max", "headroom")

# An encoding belongs to an owner and a width.
_Encodings = Mapping[tuple[str, int], tuple[ChosenRange, str]]


def statistics_request(
    model: ir.Model, placement: Placement, settings: Settings, *, histograms: bool = False
) -> CalibrationRequest:
    """Return what must be observed to plan ``placement``.

    ``histograms`` asks for them also where ranges do without.
    """
    computed = {value.name for value in model.graph.inputs}
    computed.update(value.name for node in model.graph for value in node.outputs)
    owners = tuple(owner for owner in placement.owners if owner in computed)
    sites: tuple[ActivationSite | ConvertSite, ...] = (*placement.activations, *placement.converts)
    counted = {
        site.owner
        for site in sites
        if histograms or settings.scheme_for(_bits(site, settings)) not in _EXTREMES
    }
    return CalibrationRequest(
        histograms=tuple(owner for owner in owners if owner in counted),
        extremes=tuple(owner for owner in owners if owner not in counted),
        moments=_moment_axes(model, placement),
        joined=placement.joined,
    )


def make_plan(
    model: ir.Model, placement: Placement, statistics: Statistics, settings: Settings
) -> QuantizationPlan:
    """Choose every encoding of ``placement``."""
    chosen = _owner_encodings(placement, statistics, settings)
    activations = tuple(
        PlannedActivation(
            site=site,
            encoding=found.encoding,
            scheme=scheme,
            observed=_observed(statistics.histograms.get(site.owner)),
            saturated=found.saturated,
        )
        for site in placement.activations
        for found, scheme in _chosen_for(site, chosen, settings)
    )
    converts = tuple(
        PlannedConvert(site, found.encoding, scheme)
        for site in placement.converts
        for found, scheme in _chosen_for(site, chosen, settings)
    )
    reads = ReadEncodings.of(activations, converts)
    constants = tuple(_plan_constant(model, s, chosen, settings) for s in placement.constants)
    moment_axes = _moment_axes(model, placement)
    weights = tuple(
        _plan_weight(model, site, reads, settings, statistics=statistics, moment_axes=moment_axes)
        for site in placement.weights
        if all(reads.read(it.input_tensor, it.node) is not None for it in site.consumers)
    )
    return QuantizationPlan(
        target=placement.target,
        activations=activations,
        weights=weights,
        constants=constants,
        islands=(*placement.islands, *_dropped(model, placement, chosen, settings, statistics)),
        converts=converts,
    )


def _bits(site: ActivationSite | ConvertSite, settings: Settings) -> int:
    return site.bits or settings.activation_bits


def _chosen_for(
    site: ActivationSite | ConvertSite, chosen: _Encodings, settings: Settings
) -> list[tuple[ChosenRange, str]]:
    """Return the one that was chosen for a site, or none."""
    found = chosen.get((site.owner, _bits(site, settings)))
    return [] if found is None else [found]


def _owner_encodings(
    placement: Placement, statistics: Statistics, settings: Settings
) -> dict[tuple[str, int], tuple[ChosenRange, str]]:
    chosen: dict[tuple[str, int], tuple[ChosenRange, str]] = {}
    sites: tuple[ActivationSite | ConvertSite, ...] = (*placement.activations, *placement.converts)
    for site in sites:
        bits = _bits(site, settings)
        if (site.owner, bits) in chosen or site.owner in statistics.unbounded:
            continue
        if site.fixed is not None:
            scale, zero_point = site.fixed
            encoding = Encoding((scale,), (zero_point,), bits, signed=False)
            chosen[site.owner, bits] = (
                ChosenRange(encoding, "min_max", 0.0),
                "given" if site.given else "fixed",
            )
        elif (histogram := statistics.histograms.get(site.owner)) is not None:
            symmetric = site.symmetric or bits >= _SYMMETRIC_BITS
            scheme = settings.scheme_for(bits)
            found = choose_range(histogram, bits=bits, symmetric=symmetric, scheme=scheme)
            chosen[site.owner, bits] = found, found.scheme
    return chosen


def _dropped(
    model: ir.Model,
    placement: Placement,
    chosen: _Encodings,
    settings: Settings,
    statistics: Statistics,
) -> list[Island]:
    producers = {v.name: node for node in model.graph for v in node.outputs}
    dropped = []
    for site in placement.activations:
        node = producers.get(site.tensor)
        if not _chosen_for(site, chosen, settings) and node is not None:
            infinite = site.owner in statistics.unbounded
            reason = "its values are infinite" if infinite else "it had no values in calibration"
            dropped.append(Island(node.name or "", node.op_type, f"'{site.tensor}': {reason}"))
    return dropped


def _observed(histogram: Histogram | None) -> tuple[float, float] | None:
    return None if histogram is None else (histogram.minimum, histogram.maximum)


def _plan_constant(
    model: ir.Model, site: ConstantSite, chosen: _Encodings, settings: Settings
) -> PlannedConstant:
    values = initializer(model, site.tensor)
    bits = site.bits or settings.activation_bits
    shared = None if site.like is None else chosen.get((site.like, bits))
    if shared is not None:
        return PlannedConstant(site, shared[0].encoding)
    histogram = Histogram()
    if values.size:
        histogram.add(values, low=float(values.min()), high=float(values.max()))
    symmetric = bits >= _SYMMETRIC_BITS
    # A constant has no values beyond its own.
    scheme = settings.scheme_for(bits)
    scheme = "min_max" if scheme == "headroom" else scheme
    found = choose_range(histogram, bits=bits, symmetric=symmetric, scheme=scheme)
    return PlannedConstant(site, found.encoding)


def _plan_weight(
    model: ir.Model,
    site: WeightSite,
    reads: ReadEncodings,
    settings: Settings,
    *,
    statistics: Statistics,
    moment_axes: Mapping[str, int],
) -> PlannedWeight:
    weight = initializer(model, site.tensor)
    channels = rows_by_channel(weight, site.axis)
    # Gates are equal blocks of channels (ONNX operator specifications of LSTM and GRU).
    rows = channels if site.gates is None else channels.reshape(site.gates, -1)
    bits = site.bits or settings.weight_bits
    if settings.range_scheme_requested == "min_max":
        scales, scheme = min_max_scales(rows, bits=bits), "min_max"
    else:
        importance = _importance(model, site, statistics, moment_axes)
        scales, scheme = mse_scales(rows, importance, bits=bits), "mse_minimizer"
    scales, enlarged = enlarge_scales(scales, needed_scales(model, site, reads, len(rows)))
    scales = np.repeat(scales, len(channels) // len(scales))
    encoding = weight_encoding(scales, bits=bits, axis=site.axis)
    return PlannedWeight(site, encoding, scheme, enlarged)


def needed_scales(
    model: ir.Model, site: WeightSite, reads: ReadEncodings, rows: int
) -> npt.NDArray[np.float64]:
    """Return the smallest scale of each row with which no consumer overflows."""
    needed = np.zeros(rows)
    for consumer in site.consumers:
        read = reads.read(consumer.input_tensor, consumer.node)
        if read is None:
            raise InternalError(f"'{consumer.input_tensor}' has no encoding for '{consumer.node}'")
        limits = ScaleLimits(
            input=read,
            output=reads.made(consumer.output_tensor),
            bias=None if consumer.bias is None else initializer(model, consumer.bias),
        )
        smallest = minimum_scales(limits)
        needed = np.maximum(needed, smallest.max() if site.axis is None else smallest)
    return needed


def _importance(
    model: ir.Model, site: WeightSite, statistics: Statistics, moment_axes: Mapping[str, int]
) -> FloatArray | None:
    if len(site.consumers) != 1 or site.axis is None:
        return None
    consumer = site.consumers[0]
    node = next(n for n in model.graph if n.name == consumer.node)
    moments = statistics.second_moments.get(consumer.input_tensor)
    if moments is None or moment_axes.get(consumer.input_tensor) != _input_channel_axis(node):
        return None
    shape = initializer(model, site.tensor).shape
    groups = node.attributes.get_int("group") or 1
    return importance_rows(moments, shape, consumer.op_type, groups)


def _moment_axes(model: ir.Model, placement: Placement) -> dict[str, int]:
    """Return the channel axis of each tensor whose second moments weigh a weight's errors.

    One axis for each tensor: where two layers disagree, the first one has it.
    """
    nodes = {node.name: node for node in model.graph}
    axes: dict[str, int] = {}
    for site in placement.weights:
        if len(site.consumers) != 1 or site.axis is None:
            continue
        consumer = site.consumers[0]
        shape = initializer(model, site.tensor).shape
        axis = _input_channel_axis(nodes[consumer.node])
        depthwise = consumer.op_type == "Conv" and shape[1] == 1
        if axis is not None and not depthwise:
            axes.setdefault(consumer.input_tensor, axis)
    return axes


def _input_channel_axis(node: ir.Node) -> int | None:
    """Return the axis of a layer's input that is summed over with the weight; None: unknown."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transA") else -1
    return 1 if node.op_type.startswith("Conv") else -1


def initializer(model: ir.Model, name: str) -> FloatArray:
    """Return a constant's values; raise ModelInvalidError where they are not finite."""
    value = model.graph.initializers[name]
    if value.const_value is None:
        raise InternalError(f"Initializer '{name}' has no value")
    array = np.asarray(value.const_value.numpy(), np.float32)
    if not np.isfinite(array).all():
        raise ModelInvalidError(
            "It is a constant that holds NaN or infinity",
            tensor=name,
            remedy="Check the model: no integer stands for such a value",
        )
    return array
