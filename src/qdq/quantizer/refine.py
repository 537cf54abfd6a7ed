"""Better weights and biases for a plan: the walk over the layers, from plan to plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from threadpoolctl import threadpool_limits

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.quantizer.decisions import Decision
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.encoding import fake_quantize, weight_encoding
from qdq.quantizer.guards import BIAS_LIMIT
from qdq.quantizer.plan import PlannedBias, PlannedConstant, PlannedWeight, QuantizationPlan
from qdq.quantizer.planner import initializer, needed_scales
from qdq.quantizer.reads import ReadEncodings
from qdq.quantizer.rounding import LayerProblem, Walk, find_layers
from qdq.quantizer.rounding.layers import Layer
from qdq.quantizer.rounding.moments import LayerMoments
from qdq.quantizer.rounding.solve import Candidate
from qdq.quantizer.task import Task
from qdq.quantizer.weights import min_max_scales

__all__ = ["Refined", "refine_plan"]

# More samples settle no moments further.
_MOST_SAMPLES = 128


@dataclass(frozen=True, slots=True)
class Refined:
    """The plan with rounded weights and corrected biases, and what was tried for them."""

    plan: QuantizationPlan
    decisions: tuple[Decision, ...]


def refine_plan(task: Task, plan: QuantizationPlan, *, progress: Progress = NO_PROGRESS) -> Refined:
    """Return ``plan`` with each layer's weights rounded, and its bias corrected, for its inputs.

    Layers are taken in graph order; each sees the inputs that the quantized layers before it give.
    Without a gate split candidates are judged on the calibration samples.
    """
    model = task.model
    layers = find_layers(model, plan, task.placement.fused)
    if not layers:
        return Refined(plan, ())
    reads = ReadEncodings.of(plan.activations, plan.converts)
    chosen: dict[str, tuple[Layer, Candidate]] = {}
    decisions: list[Decision] = []
    progress.step("round", len(layers))
    # BLAS on one thread: sums have one order.
    with (
        threadpool_limits(1),
        Walk(
            model,
            _working_model(model, plan),
            task.samples,
            calibration=task.splits.calibration[:_MOST_SAMPLES],
            gate=task.splits.gate,
        ) as walk,
    ):
        for layer in layers:
            moments = walk.reach(layer)
            problem = _problem(model, layer, moments, reads)
            candidate, tried = walk.choose(problem)
            walk.settle(layer, candidate, initializer(model, layer.tensor).shape)
            chosen[layer.tensor] = layer, candidate
            decisions.extend(tried)
            progress.advance()
    return Refined(_with_chosen(model, plan, chosen), tuple(decisions))


def _working_model(model: ir.Model, plan: QuantizationPlan) -> ir.Model:
    """Return the quantized model with weights and constants snapped in place, without their Q/DQ.

    Their pairs would be computed anew for every sample.
    """
    working = model.clone()
    emit_plan(working, replace(plan, weights=(), constants=(), biases=()))
    parameters: tuple[PlannedWeight | PlannedConstant, ...] = (*plan.weights, *plan.constants)
    for planned in parameters:
        value = working.graph.initializers[planned.site.tensor]
        snapped = fake_quantize(initializer(model, planned.site.tensor), planned.encoding)
        value.const_value = ir.tensor(snapped, name=value.name)
    return working


def _problem(
    model: ir.Model,
    layer: Layer,
    moments: LayerMoments,
    reads: ReadEncodings,
) -> LayerProblem:
    rows = layer.rows(initializer(model, layer.tensor))
    groups, channels, elements = rows.shape
    site, count = layer.planned.site, groups * channels
    bits, consumer = layer.planned.encoding.bits, site.consumers[0]
    needed = needed_scales(model, site, reads, count)
    read = reads.read(consumer.input_tensor, consumer.node)
    assert read is not None
    least = np.nextafter(needed.astype(np.float32), np.float32(np.inf)).reshape(groups, channels)
    flat = rows.reshape(count, elements)
    if site.axis is None:
        flat = flat.reshape(1, -1)
    largest = np.broadcast_to(min_max_scales(flat, bits=bits), (count,)).reshape(groups, channels)
    scales = {"min_max": np.maximum(largest, least)}
    if layer.planned.scheme != "min_max":
        planned = np.asarray(layer.planned.encoding.scale, np.float32)
        scales[layer.planned.scheme] = np.broadcast_to(planned, (count,)).reshape(groups, channels)
    return LayerProblem(
        layer=layer,
        rows=rows,
        scales=scales,
        least=least,
        bias_reach=BIAS_LIMIT / 2 * read.scale[0],
        moments=moments,
        bits=bits,
    )


def _with_chosen(
    model: ir.Model, plan: QuantizationPlan, chosen: Mapping[str, tuple[Layer, Candidate]]
) -> QuantizationPlan:
    weights, biases = [], []
    for planned in plan.weights:
        if planned.site.tensor not in chosen:
            weights.append(planned)
            continue
        layer, candidate = chosen[planned.site.tensor]
        shape = initializer(model, layer.tensor).shape
        scales = candidate.scales.reshape(-1)
        if planned.site.axis is None:
            scales = scales[:1]
        encoding = weight_encoding(scales, bits=planned.encoding.bits, axis=planned.site.axis)
        values = layer.weight(candidate.rows, shape)
        weights.append(replace(planned, encoding=encoding, scheme=candidate.name, values=values))
        if candidate.bias is not None and layer.bias is not None:
            spot = layer.bias
            values = candidate.bias.reshape(spot.shape)
            biases.append(PlannedBias(spot.node, spot.position, layer.tensor, values))
    return replace(plan, weights=tuple(weights), biases=tuple(biases))
