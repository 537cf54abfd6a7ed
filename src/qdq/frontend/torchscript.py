"""Export TorchScript to ONNX; runs in the child process only.

The module is wrapped in one whose forward takes and returns a flat list of tensors: the wrapper is
TorchScript too, because the exporter cannot trace into a module that was loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qdq.base.errors import ModelCorruptError, ModelInvalidError, SpecError, UnsupportedError
from qdq.base.progress import Progress
from qdq.frontend.specs import InputSpec
from qdq.frontend.torch_names import WRAPPED, input_name, output_name
from qdq.frontend.torch_reasons import export_error, memory_error, reason

__all__ = ["OPSET", "export_torchscript"]

# The newest that the TorchScript exporter writes: Gelu and LayerNormalization are then one node
# each, and fewer nodes need converting when quantization raises the opset.
OPSET = 20
_SPEC = "Give one --input-spec NAME:SHAPE[:DTYPE] for each, in this order"


def export_torchscript(
    path: Path, output: Path, *, inputs: Sequence[InputSpec], progress: Progress
) -> None:
    """Export the module at ``path`` to ``output``, for tensors as ``inputs`` say, in order."""
    progress.step("load TorchScript", 1)
    module = _load(path)
    call = _plan_call(module, inputs)
    progress.step("try the model", 1)
    examples = tuple(_example(spec) for spec in inputs)
    wrapper = _wrap(module)
    results = _try(wrapper, call, examples)
    progress.step("export to ONNX", 1)
    _define(wrapper, "forward", call, results)
    _export(wrapper, examples, outputs=len(results), path=output)


def _load(path: Path) -> Any:
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:
        raise memory_error(error) or ModelCorruptError(
            f"torch {torch.__version__} cannot read the TorchScript: {reason(error)}",
            remedy="Save it again with torch.jit.save, with this torch or an older one",
        ) from error
    if not _has_forward(module):
        raise ModelInvalidError(
            "The TorchScript module has no forward", remedy="Trace or script one that has"
        )
    for submodule in module.modules():
        _move_constants_to_cpu(submodule)
    return module


def _has_forward(module: Any) -> bool:
    # hasattr does not do: torch raises RuntimeError for methods that were not compiled.
    return bool(module._c._has_method("forward"))


def _move_constants_to_cpu(module: Any) -> None:
    """Replace devices that tracing wrote into the code: map_location moves only weights."""
    if not _has_forward(module):
        return
    graph = module.graph
    for node in graph.findAllNodes("prim::Constant"):
        if node.output().type().kind() == "DeviceObjType":
            node.s_("value", "cpu")


@dataclass(frozen=True)
class _Call:
    """How forward is called: expressions over the flat inputs i0, i1, ..."""

    arguments: tuple[str, ...]
    count: int


def _plan_call(module: Any, inputs: Sequence[InputSpec]) -> _Call:
    schema = module.forward.schema.arguments[1:]
    told = ", ".join(f"{argument.name}: {argument.type}" for argument in schema) or "nothing"
    arguments, count = [], 0
    for argument in schema:
        needed = _tensor_count(argument.type)
        if needed is None and argument.has_default_value():
            continue
        if needed is None:
            raise UnsupportedError(
                f"The argument '{argument.name}' of forward is no tensor but {argument.type}",
                remedy="Trace the module with that argument fixed",
            )
        if argument.has_default_value() and count + needed > len(inputs):
            continue
        names = iter(f"i{k}" for k in range(count, count + needed))
        arguments.append(f"{argument.name}={_argument(argument.type, names)}")
        count += needed
    if count != len(inputs):
        given = ", ".join(str(spec) for spec in inputs) or "none"
        raise SpecError(
            f"forward takes {count} tensors ({told}), the input specs are {given}", remedy=_SPEC
        )
    return _Call(tuple(arguments), count)


def _tensor_count(kind: Any) -> int | None:
    """Return how many tensors an argument of this type holds, None when it holds others."""
    match kind.kind():
        case "TensorType":
            return 1
        case "OptionalType":
            return _tensor_count(kind.getElementType())
        case "TupleType":
            counts = [_tensor_count(element) for element in kind.elements()]
            return sum(c for c in counts if c is not None) if None not in counts else None
    return None


def _argument(kind: Any, names: Iterator[str]) -> str:
    match kind.kind():
        case "OptionalType":
            return _argument(kind.getElementType(), names)
        case "TupleType":
            return f"({''.join(_argument(e, names) + ', ' for e in kind.elements())})"
    return next(names)


def _example(spec: InputSpec) -> torch.Tensor:
    """Return a tensor for tracing: in the unit interval, and a legal index where integral."""
    dtype = getattr(torch, spec.dtype)
    if dtype.is_floating_point:
        generator = torch.Generator().manual_seed(0)
        return torch.rand(spec.shape, generator=generator).to(dtype)
    return (
        torch.ones(spec.shape, dtype=dtype)
        if dtype == torch.bool
        else torch.zeros(spec.shape, dtype=dtype)
    )


def _try(wrapper: Any, call: _Call, examples: tuple[torch.Tensor, ...]) -> list[str]:
    """Run the module once; return the expressions that pick each tensor from its result."""
    try:
        _define(wrapper, "run", call, ["r"])
        with torch.no_grad():
            result = wrapper.run(*examples)
    except Exception as error:
        given = ", ".join(
            f"{list(e.shape)} {str(e.dtype).removeprefix('torch.')}" for e in examples
        )
        raise memory_error(error) or SpecError(
            f"The model fails on inputs {given}: {reason(error)}",
            remedy="Give the shapes and dtypes that the model was traced for, in forward's order",
        ) from error
    picks = list(_picks(result, "r"))
    if not picks:
        raise UnsupportedError(
            f"forward returns no tensor but {type(result).__name__}",
            remedy="Trace a module that returns tensors",
        )
    return picks


def _picks(result: Any, expression: str) -> Iterator[str]:
    if isinstance(result, torch.Tensor):
        yield expression
    elif isinstance(result, dict):
        for key, value in result.items():
            yield from _picks(value, f"{expression}[{key!r}]")
    elif isinstance(result, tuple | list):
        for index, value in enumerate(result):
            yield from _picks(value, f"{expression}[{index}]")


def _wrap(module: Any) -> Any:
    holder = torch.nn.Module()
    setattr(holder, WRAPPED, module)
    return torch.jit.script(holder).eval()


def _define(wrapper: Any, name: str, call: _Call, results: Sequence[str]) -> None:
    """Give the wrapper a method that calls the module and returns ``results`` of what it gives."""
    parameters = "".join(f", i{k}" for k in range(call.count))
    wrapper.define(
        f"def {name}(self{parameters}):\n"
        f"    r = self.{WRAPPED}({', '.join(call.arguments)})\n"
        f"    return {', '.join(results)}\n"
    )


def _export(wrapper: Any, examples: tuple[torch.Tensor, ...], *, outputs: int, path: Path) -> None:
    try:
        torch.onnx.export(
            wrapper,
            examples,
            str(path),
            input_names=[input_name(k) for k in range(len(examples))],
            output_names=[output_name(k) for k in range(outputs)],
            opset_version=OPSET,
            dynamo=False,
            # EVAL would fold BatchNorm already, and lose the names of the weights.
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    except Exception as error:
        raise export_error(error) from error
