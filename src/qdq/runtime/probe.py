"""Dtypes and sizes of a model's inner tensors, without ever holding them all.

Types are those that the graph tells, which ONNX Runtime checks as it loads the model; where it
does not tell all, they come from loading it with every tensor as an output.  Sizes come from one
run in which a Shape node beside each tensor is returned in its place: exact with dynamic
dimensions, and flat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq.dataset import Samples, fit_samples
from qdq.runtime.port import Session
from qdq.runtime.run import input_layouts
from qdq.runtime.session import open_session, value_dtypes
from qdq.runtime.tensors import Array

__all__ = ["TensorFacts", "feed", "probe"]

# What numpy takes from ONNX Runtime; its Python interface has no form for the rest.
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_READABLE = frozenset(("float16", "float32", "float64", "bool", *_INTEGERS))
# For a graph of other domains only, which imports no opset that has Shape.
_OPSET = 17
_PREFIX = "qdq_probe_shape/"


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor's dtype (numpy's name, or ONNX Runtime's where numpy has none) and shape.

    ``shape`` is that of one sample, and None where the tensor cannot be read.
    """

    dtype: str
    shape: tuple[int, ...] | None

    @property
    def nbytes(self) -> int:
        """Size in bytes; 0 where it cannot be read."""
        if self.shape is None:
            return 0
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def probe(
    model: ir.Model,
    names: Sequence[str],
    *,
    samples: Samples,
    inputs: Mapping[str, str],
    threads: int = 0,
) -> dict[str, TensorFacts]:
    """Return the facts of the values ``names`` of the main graph, as the first sample makes them.

    ``inputs`` maps the model's input names to those of the samples.  Raises DatasetError when the
    samples do not fit the model.
    """
    dtypes = _told_dtypes(model, names) or value_dtypes(model, names)
    readable = [name for name, dtype in dtypes.items() if dtype in _READABLE]
    clone, shape_names = _with_shapes(model, readable)
    with open_session(clone, optimize=False, threads=threads, outputs=shape_names) as session:
        _fit(session, samples, inputs)
        found = session.run_values(feed(samples[0], inputs)) if readable else []
    shapes = {
        name: tuple(int(dim) for dim in shape) for name, shape in zip(readable, found, strict=True)
    }
    return {name: TensorFacts(dtype, shapes.get(name)) for name, dtype in dtypes.items()}


def feed(sample: Mapping[str, Array], inputs: Mapping[str, str]) -> dict[str, Array]:
    """Return the sample under the model's input names."""
    return {name: sample[given] for name, given in inputs.items()}


def _fit(session: Session, samples: Samples, inputs: Mapping[str, str]) -> None:
    layouts = [(inputs[name], dtype, shape) for name, dtype, shape in input_layouts(session)]
    fit_samples(samples, layouts)


def _told_dtypes(model: ir.Model, names: Sequence[str]) -> dict[str, str] | None:
    """Return the dtypes of ``names`` if the graph tells all, and all are such as can be read."""
    graph = model.graph
    values = {value.name: value for node in graph for value in node.outputs}
    values |= {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    found = {name: _told_dtype(values.get(name)) for name in names}
    return {name: str(it) for name, it in found.items()} if None not in found.values() else None


def _told_dtype(value: ir.Value | None) -> str | None:
    if value is None or not isinstance(value.type, ir.TensorType):
        return None
    try:
        name = value.type.dtype.numpy().name
    except TypeError:  # a dtype that is only a number, such as UNDEFINED
        return None
    return name if name in _READABLE else None


def _with_shapes(model: ir.Model, names: Sequence[str]) -> tuple[ir.Model, list[str] | None]:
    clone = model.clone()
    graph = clone.graph
    graph.opset_imports.setdefault("", _OPSET)
    values = {value.name: value for node in graph for value in node.outputs}
    values |= {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    for name in names:
        node = ir.node("Shape", [values[name]])
        node.outputs[0].name = _PREFIX + name
        graph.append(node)
    return clone, [_PREFIX + name for name in names] or None
