"""Fit input specs to a graph: rename inputs, fix dynamic dims, and say what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from qdq.base.errors import SpecError
from qdq.frontend.specs import InputSpec
from qdq.graph import describe_input, fix_dims

__all__ = ["add_missing_inputs", "apply_specs", "rename_inputs"]


def apply_specs(model: ir.Model, specs: Sequence[InputSpec]) -> None:
    """Rename inputs and fix their dynamic dims as ``specs`` say, in place.

    Specs whose names are all inputs go by name, and may leave inputs out.  Otherwise there must be
    as many specs as inputs, and they rename the inputs in order.  Raises SpecError listing the
    model's inputs; the model is then unchanged.
    """
    pairs = _pair(model, specs)
    for value, spec in pairs:
        _check_fit(model, value, spec)
    renames = {str(value.name): spec.name for value, spec in pairs if value.name != spec.name}
    _check_new_names(model, renames)
    fix_dims(model, {str(value.name): spec.shape for value, spec in pairs})
    rename_inputs(model, renames)


def rename_inputs(model: ir.Model, renames: Mapping[str, str]) -> None:
    """Give inputs new names, in place; an output that is an input keeps its name.

    Raises SpecError when a new name is that of another tensor.
    """
    _check_new_names(model, renames)
    inputs = {str(value.name): value for value in _inputs(model)}
    for old in renames:
        _separate_output(model.graph, inputs[old])
    for old, new in renames.items():
        inputs[old].name = new


def add_missing_inputs(model: ir.Model, specs: Sequence[InputSpec]) -> None:
    """Give the graph exactly the inputs of ``specs``, in order: exporters drop unused ones."""
    present = {str(value.name): value for value in model.graph.inputs}
    model.graph.inputs.clear()
    for spec in specs:
        dtype = ir.DataType.from_numpy(np.dtype(spec.dtype))
        fresh = ir.Value(name=spec.name, shape=ir.Shape(spec.shape), type=ir.TensorType(dtype))
        model.graph.inputs.append(present.get(spec.name, fresh))


def _inputs(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if not value.is_initializer()]


def _pair(model: ir.Model, specs: Sequence[InputSpec]) -> list[tuple[ir.Value, InputSpec]]:
    inputs = _inputs(model)
    by_name = {str(value.name): value for value in inputs}
    known = [spec.name for spec in specs if spec.name in by_name]
    if len(known) == len(specs):
        return [(by_name[spec.name], spec) for spec in specs]
    unknown = ", ".join(f"'{spec.name}'" for spec in specs if spec.name not in by_name)
    if len(specs) != len(inputs):
        raise _mismatch(
            model,
            f"{unknown} is no input of the model, and {len(specs)} specs cannot rename "
            f"{len(inputs)} inputs",
        )
    pairs = list(zip(inputs, specs, strict=True))
    moved = [spec.name for value, spec in pairs if spec.name in by_name and value.name != spec.name]
    if moved:
        raise _mismatch(
            model,
            f"{unknown} is no input of the model, and renaming in order would give the name "
            f"'{moved[0]}' to another input",
        )
    return pairs


def _check_fit(model: ir.Model, value: ir.Value, spec: InputSpec) -> None:
    if value.dtype is not None and _dtype_name(value) != spec.dtype:
        raise _mismatch(model, f"The spec {spec} has another dtype than input '{value.name}'")
    if value.shape is None:
        return
    fits = len(value.shape) == len(spec.shape) and all(
        not isinstance(dim, int) or dim == size
        for dim, size in zip(value.shape, spec.shape, strict=True)
    )
    if not fits:
        raise _mismatch(model, f"The spec {spec} does not fit the shape of input '{value.name}'")


def _check_new_names(model: ir.Model, renames: Mapping[str, str]) -> None:
    taken = {
        name
        for graph in model.graphs()
        for value in (*graph.inputs, *graph.initializers.values(), *_node_outputs(graph))
        if (name := value.name) and name not in renames
    }
    for new in renames.values():
        if new in taken:
            raise SpecError(
                f"The input name '{new}' is that of another tensor of the model",
                remedy="Choose another name",
            )


def _node_outputs(graph: ir.Graph) -> list[ir.Value]:
    return [output for node in graph for output in node.outputs]


def _separate_output(graph: ir.Graph, value: ir.Value) -> None:
    """Put an Identity between an input and the outputs that are this same value."""
    places = [index for index, output in enumerate(graph.outputs) if output is value]
    if not places:
        return
    node = ir.node("Identity", [value], name=f"{value.name}_as_output")
    copy = node.outputs[0]
    copy.shape, copy.type, copy.name = value.shape, value.type, value.name
    # The name passes to the copy; the caller gives the input its new one.
    graph.append(node)
    for index in places:
        graph.outputs[index] = copy


def _mismatch(model: ir.Model, cause: str) -> SpecError:
    told = "; ".join(describe_input(value) for value in _inputs(model)) or "none"
    return SpecError(cause, remedy=f"The model's inputs are: {told}")


def _dtype_name(value: ir.Value) -> str:
    return "unknown" if value.dtype is None else str(value.dtype.numpy().name)
