"""Do options, specs and samples fit the inspected model?  Answered before a job is queued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdq.base.dtypes import dtype_from_name
from qdq.base.errors import DatasetError, SpecError
from qdq.base.options import Options
from qdq.domain.records import Inspection, TensorSpec

__all__ = ["check_interface", "check_samples", "check_specs"]

_MOST_RANK = 32


def check_specs(specs: Sequence[TensorSpec], model: Inspection) -> None:
    """Raise SpecError unless every spec is sound and fits the input of its name.

    Inputs of torch's formats have no inspected names: there only the specs themselves are checked.
    """
    seen: set[str] = set()
    for spec in specs:
        _check_sound(spec, seen)
    known = {it.name: it for it in model.inputs}
    if not known:
        return
    for spec in specs:
        found = known.get(spec.name)
        if found is None:
            raise SpecError(
                f"The model has no input '{spec.name}'", remedy=f"Its inputs are {_told(known)}"
            )
        if not _dims_fit(spec.shape, found.shape) or spec.dtype != found.dtype:
            raise SpecError(
                f"Input '{spec.name}' of the model is {_layout(found)}, the spec says "
                f"{_layout(spec)}",
                remedy="Only open dimensions can be given another size",
            )


def check_interface(options: Options, model: Inspection) -> None:
    """Raise SpecError unless the options of a compile job name inputs and outputs of the model.

    Sides that were not inspected are left to the job itself.
    """
    outputs = [it.name for it in model.outputs]
    renamed = _names(options, "output_names")
    if renamed and outputs:
        if len(renamed) != len(outputs):
            raise SpecError(
                f"--output_names gives {len(renamed)} names, and the model has {len(outputs)} "
                f"outputs: {_quoted(outputs)}",
                remedy="Give one name for each output, in this order",
            )
        # The other options name outputs by their new names.
        outputs = list(renamed)
    for what, known in (("input", [it.name for it in model.inputs]), ("output", outputs)):
        _check_named(options, f"force_channel_last_{what}", what, known)


def _check_named(options: Options, option: str, what: str, known: Sequence[str]) -> None:
    for name in _names(options, option):
        if known and name not in known:
            raise SpecError(
                f"--{option} names '{name}', which is no {what} of the model",
                remedy=f"The {what}s are {_quoted(known)}",
            )


def _names(options: Options, name: str) -> tuple[str, ...]:
    value = options.get(name)
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def check_samples(data: Inspection, model: Inspection) -> None:
    """Raise DatasetError unless every sample has the model's inputs, as it takes them.

    Nothing is checked where either was not inspected: the job itself looks again.
    """
    if data.samples == 0:
        raise DatasetError("The dataset has no samples", remedy="Give at least one")
    # Of several graphs the job's options choose one, and it looks itself.
    if not data.inputs or not model.inputs or any(it.graph for it in model.inputs):
        return
    wanted = {it.name: it for it in model.inputs}
    given = {it.name: it for it in data.inputs}
    if wanted.keys() != given.keys():
        raise DatasetError(
            f"The dataset has the inputs {_told(given)}", remedy=f"The model takes {_told(wanted)}"
        )
    layouts: Mapping[str, Any] = data.details.get("layouts", {})
    for name, want in wanted.items():
        for found in _layouts(given[name], layouts.get(name, ())):
            _check_one(found, want)


def _check_one(found: TensorSpec, want: TensorSpec) -> None:
    if want.dtype not in (found.dtype, "unknown"):
        raise DatasetError(
            f"Input '{want.name}' is {found.dtype} in the dataset, the model takes {want.dtype}",
            remedy=f"Convert it with .astype('{want.dtype}')",
        )
    if not _dims_fit(found.shape, want.shape):
        raise DatasetError(
            f"Input '{want.name}' has shape {_shape(found.shape)} in the dataset, the model takes "
            f"{_shape(want.shape)}",
            remedy="Each sample has the shape of the model's input, batch dimension included",
        )


def _layouts(first: TensorSpec, rows: Sequence[Mapping[str, Any]]) -> list[TensorSpec]:
    return [TensorSpec(first.name, tuple(row["shape"]), row["dtype"]) for row in rows] or [first]


def _check_sound(spec: TensorSpec, seen: set[str]) -> None:
    if spec.name in seen:
        raise SpecError(f"The input '{spec.name}' is given twice", remedy="Keep one of them")
    seen.add(spec.name)
    if not spec.name or not 0 < len(spec.shape) <= _MOST_RANK or min(spec.shape) < 1:
        raise SpecError(
            f"The input spec '{spec.name}' {list(spec.shape)} is not a name with a static shape",
            remedy="Give a shape of dimensions of at least 1",
        )
    dtype_from_name(spec.dtype)


def _dims_fit(found: Sequence[int], want: Sequence[int]) -> bool:
    # An empty shape stands for an unknown one too.
    if not want:
        return True
    return len(found) == len(want) and all(
        size == dim or dim < 0 for size, dim in zip(found, want, strict=True)
    )


def _layout(spec: TensorSpec) -> str:
    return f"{spec.dtype} {_shape(spec.shape)}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape) or "scalar"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _told(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"'{name}' {_layout(spec)}" for name, spec in specs.items()) or "none"
