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
from qdq.quantizer.placement import ConstantSite, Island, Placement, WeightSite
from qdq.quantizer.plan import (
    PlannedActivation,
    PlannedConstant,
    PlannedWeight,
    QuantizationPlan,
)
from qdq.quantizer.ranges import ChosenRange, choose_range
from qdq.quantizer.settings import Settings
from qdq.quantizer.weights import importance_rows, min_max_scales, mse_scales, rows_by_channel

__all__ = ["initializer", "make_plan", "needed_scales", "statistics_request"]

# 16-bit activations are symmetric: stored uint16 with zero point 32768, they equal int16 with
# zero point 0, the only form that TFLite has.
_SYMMETRIC_BITS = 16


def statistics_request(
    model: ir.Model, placement: Placement, settings: Settings, *, histograms: bool = False
) -> CalibrationRequest:
    """Return what must be observed to plan ``placement``.

    ``histograms`` asks for them also where ranges do without.
    """
    computed = {value.name for value in model.graph.inputs}
    computed.update(value.name for node in model.graph for value in node.outputs)
    owners = tuple(owner for owner in placement.owners if owner in computed)
    if settings.range_scheme in ("min_max", "headroom") and not histograms:
        return CalibrationRequest(
            extremes=owners, moments=_moment_axes(model, placement), joined=placement.joined
        )
    return CalibrationRequest(
        histograms=owners, moments=_moment_axes(model, placement), joined=placement.joined
    )


def make_plan(
    model: ir.Model, placement: Placement, statistics: Statistics, settings: Settings
) -> QuantizationPlan:
    """Choose every encoding of ``placement``."""
    chosen = _owner_encodings(placement, statistics, settings)
    activations = tuple(
        PlannedActivation(
            site=site,
            encoding=chosen[site.owner][0].encoding,
            scheme=chosen[site.owner][1],
            observed=_observed(statistics.histograms.get(site.owner)),
            saturated=chosen[site.owner][0].saturated,
        )
        for site in placement.activations
        if site.owner in chosen
    )
    by_tensor = {planned.site.tensor: planned.encoding for planned in activations}
    constants = tuple(_plan_constant(model, s, by_tensor, settings) for s in placement.constants)
    moment_axes = _moment_axes(model, placement)
    weights = tuple(
        _plan_weight(
            model, site, by_tensor, settings, statistics=statistics, moment_axes=moment_axes
        )
        for site in placement.weights
        if all(consumer.input_tensor in by_tensor for consumer in site.consumers)
    )
    return QuantizationPlan(
        target=placement.target,
        activations=activations,
        weights=weights,
        constants=constants,
        islands=(*placement.islands, *_dropped(model, placement, chosen, statistics)),
    )


def _owner_encodings(
    placement: Placement, statistics: Statistics, settings: Settings
) -> dict[str, tuple[ChosenRange, str]]:
    chosen: dict[str, tuple[ChosenRange, str]] = {}
    for site in placement.activations:
        if site.owner in chosen or site.owner in statistics.unbounded:
            continue
        bits = settings.activation_bits
        if site.fixed is not None:
            scale, zero_point = site.fixed
            encoding = Encoding((scale,), (zero_point,), bits, signed=False)
            chosen[site.owner] = ChosenRange(encoding, "min_max", 0.0), "fixed"
        elif (histogram := statistics.histograms.get(site.owner)) is not None:
            symmetric = site.symmetric or bits >= _SYMMETRIC_BITS
            found = choose_range(
                histogram, bits=bits, symmetric=symmetric, scheme=settings.range_scheme
            )
            chosen[site.owner] = found, found.scheme
    return chosen


def _dropped(
    model: ir.Model,
    placement: Placement,
    chosen: dict[str, tuple[ChosenRange, str]],
    statistics: Statistics,
) -> list[Island]:
    producers = {v.name: node for node in model.graph for v in node.outputs}
    dropped = []
    for site in placement.activations:
        node = producers.get(site.tensor)
        if site.owner not in chosen and node is not None:
            infinite = site.owner in statistics.unbounded
            reason = "its values are infinite" if infinite else "it had no values in calibration"
            dropped.append(Island(node.name or "", node.op_type, f"'{site.tensor}': {reason}"))
    return dropped


def _observed(histogram: Histogram | None) -> tuple[float, float] | None:
    return None if histogram is None else (histogram.minimum, histogram.maximum)


def _plan_constant(
    model: ir.Model, site: ConstantSite, activations: dict[str, Encoding], settings: Settings
) -> PlannedConstant:
    values = initializer(model, site.tensor)
    if site.like in activations:
        return PlannedConstant(site, activations[site.like])
    histogram = Histogram()
    if values.size:
        histogram.add(values, low=float(values.min()), high=float(values.max()))
    bits = settings.activation_bits
    symmetric = bits >= _SYMMETRIC_BITS
    # A constant has no values beyond its own.
    scheme = "min_max" if settings.range_scheme == "headroom" else settings.range_scheme
    found = choose_range(histogram, bits=bits, symmetric=symmetric, scheme=scheme)
    return PlannedConstant(site, found.encoding)


def _plan_weight(
    model: ir.Model,
    site: WeightSite,
    activations: dict[str, Encoding],
    settings: Settings,
    *,
    statistics: Statistics,
    moment_axes: Mapping[str, int],
) -> PlannedWeight:
    weight = initializer(model, site.tensor)
    channels = rows_by_channel(weight, site.axis)
    # Gates are equal blocks of channels (ONNX operator specifications of LSTM and GRU).
    rows = channels if site.gates is None else channels.reshape(site.gates, -1)
    bits = settings.weight_bits
    if settings.range_scheme_requested == "min_max":
        scales, scheme = min_max_scales(rows, bits=bits), "min_max"
    else:
        importance = _importance(model, site, statistics, moment_axes)
        scales, scheme = mse_scales(rows, importance, bits=bits), "mse_minimizer"
    scales, enlarged = enlarge_scales(scales, needed_scales(model, site, activations, len(rows)))
    scales = np.repeat(scales, len(channels) // len(scales))
    encoding = weight_encoding(scales, bits=bits, axis=site.axis)
    return PlannedWeight(site, encoding, scheme, enlarged)


def needed_scales(
    model: ir.Model, site: WeightSite, activations: dict[str, Encoding], rows: int
) -> npt.NDArray[np.float64]:
    """Return the smallest scale of each row with which no consumer overflows."""
    needed = np.zeros(rows)
    for consumer in site.consumers:
        limits = ScaleLimits(
            input=activations[consumer.input_tensor],
            output=activations.get(consumer.output_tensor or ""),
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
