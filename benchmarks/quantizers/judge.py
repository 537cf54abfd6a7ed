"""Judge quantized models: one ONNX Runtime, optimisations off, the float model as the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["Score", "Sites", "count_sites", "outputs_of", "score"]

Outputs = list[list[np.ndarray]]


@dataclass(frozen=True, slots=True)
class Score:
    """``sqnr`` in dB is the least over float outputs, each over all samples; ``median`` the same of
    the median over samples, which a single odd sample does not decide; ``agreement`` the share of
    rows of outputs [N, C] with the same argmax, else of equal elements of integer ones, None where
    there is neither."""

    sqnr: float
    median: float
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Sites:
    """Activations that Q/DQ rounds (again by the same encoding does not count), weights that come
    out of DQ, and nodes that multiply (Conv, Gemm, MatMul, ...), of which so many read only what
    comes out of DQ."""

    activations: int
    weights: int
    products: int
    quantized_products: int


def outputs_of(model: Path, samples: Sequence[dict[str, np.ndarray]]) -> Outputs:
    """Return, for each output, its values for each sample."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {given.name for given in session.get_inputs()}
    rows = [session.run(None, {k: v for k, v in s.items() if k in names}) for s in samples]
    return [list(values) for values in zip(*rows, strict=True)]


def score(reference: Outputs, measured: Outputs) -> Score:
    """Compare outputs, by position, with those of the float model."""
    levels, medians, agreements = [], [], []
    for expected, found in zip(reference, measured, strict=False):
        x, y = np.stack(expected), np.stack(found)
        if x.dtype.kind != "f":
            agreements.append(float((x == y).mean()))
            continue
        x, y = x.astype(np.float64), y.astype(np.float64)
        axes = tuple(range(1, x.ndim))
        power, noise = (x**2).sum(axis=axes), ((x - y) ** 2).sum(axis=axes)
        levels.append(float(_decibels(power.sum(), noise.sum())))
        medians.append(float(np.median(_decibels(power, noise))))
        if x.ndim == 3 and x.shape[-1] > 1:
            agreements.append(float((x.argmax(-1) == y.argmax(-1)).mean()))
    none = float("nan")
    return Score(
        min(levels, default=none), min(medians, default=none), min(agreements, default=None)
    )


def _decibels(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return 10 * (np.log10(np.maximum(power, 1e-30)) - np.log10(np.maximum(noise, 1e-30)))


_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU")


def count_sites(path: Path) -> Sites:
    """Count what is quantized in a model, however it spells it."""
    graph = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    makers = {name: node for node in graph.node for name in node.output}
    activations, weights = set(), set()
    for node in graph.node:
        source = node.input[0] if node.input else ""
        if source in constants and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            if _is_weight(constants[source]):
                weights.add(source)
        elif node.op_type == "QuantizeLinear" and not _repeats(node, makers, constants):
            activations.add(source)
    products = [node for node in graph.node if node.op_type in _PRODUCTS]
    done = [node for node in products if _reads_integers(node, makers, constants)]
    return Sites(len(activations), len(weights), len(products), len(done))


def _is_weight(tensor: onnx.TensorProto) -> bool:
    """Tell weights from biases, which are int32, and from single numbers such as bounds."""
    return tensor.data_type != onnx.TensorProto.INT32 and int(np.prod(tensor.dims)) > 1


# Ops that only move values stand between DQ and a product in some models.
_MOVING = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Pad")
# And these return some of their values, or bounds.
_CHOOSING = (*_MOVING, "Relu", "Clip", "MaxPool", "Gather", "Identity")


def _reads_integers(node: Any, makers: dict[str, Any], constants: dict[str, Any]) -> bool:
    return all(_is_dequantized(name, makers, constants) for name in node.input[:2])


def _is_dequantized(name: str, makers: dict[str, Any], constants: dict[str, Any]) -> bool:
    return _behind(name, makers, constants, _MOVING) is not None


def _behind(
    name: str, makers: dict[str, Any], constants: dict[str, Any], through: tuple[str, ...]
) -> Any:
    """Return the DequantizeLinear that ``name`` comes from through such ops, or None."""
    while name not in constants and name in makers and makers[name].op_type in through:
        name = makers[name].input[0]
    found = makers.get(name)
    return found if found is not None and found.op_type == "DequantizeLinear" else None


def _repeats(node: Any, makers: dict[str, Any], constants: dict[str, Any]) -> bool:
    """Tell whether a QuantizeLinear only repeats what its input went through before."""
    before = _behind(node.input[0], makers, constants, _CHOOSING)
    if before is None:
        return False
    pairs = zip(node.input[1:], before.input[1:], strict=False)
    return all(_value(a, constants) == _value(b, constants) for a, b in pairs)


def _value(name: str, constants: dict[str, Any]) -> object:
    """Return what can be compared: the numbers of a constant, else the name."""
    return numpy_helper.to_array(constants[name]).tolist() if name in constants else name
