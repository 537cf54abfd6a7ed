"""Shapes: inference that copes with large and imperfect models, and fixing dynamic input dims."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import onnx
import onnx.shape_inference
import onnx_ir as ir

from qdq.base.errors import SpecError
from qdq.graph.ceil_pools import clip_first_pool

__all__ = [
    "InferenceResult",
    "check_static_inputs",
    "describe_input",
    "fix_dims",
    "infer_shapes",
]

# Larger tensors cannot be shapes or axes, so inference need not see their values.
SMALL_TENSOR_BYTES = 1024

Dim = int | str | None


@dataclasses.dataclass(frozen=True, slots=True)
class InferenceResult:
    """Whether any shape or dtype changed, and what inference complained about."""

    modified: bool
    notes: tuple[str, ...]


def infer_shapes(model: ir.Model) -> InferenceResult:
    """Infer every shape and dtype of the main graph from its inputs, in place.

    What the model declares is kept where inference is silent, and corrected where it is wrong.
    An inconsistent node is a note, never an error.  Weights are not serialized.
    """
    inferred, notes = _inferred_types(model)
    known = {dim.value for value in model.graph.inputs for dim in _symbols(value.shape)}
    modified = False
    for node in model.graph:
        for output in node.outputs:
            if output.name in inferred:
                modified |= _merge(output, inferred[output.name], known)
    return InferenceResult(modified, notes)


def fix_dims(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give the inputs named in ``shapes`` these static shapes and infer the rest, in place.

    A named dim that other tensors share is fixed there too.  Raises SpecError for an unknown
    input, a wrong rank, a dim that contradicts a static one, or a shape with which some node
    no longer fits.
    """
    inputs = {str(value.name): value for value in model.graph.inputs}
    symbols: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise SpecError(
                f"The model has no input '{name}'",
                remedy=f"Its inputs are {', '.join(repr(n) for n in inputs) or 'none'}",
            )
        _bind(inputs[name], tuple(shape), symbols)
    broken_before = _strict_complaint(model)
    before = {name: value.shape for name, value in inputs.items()}
    for name, shape in shapes.items():
        inputs[name].shape = ir.Shape(tuple(shape))
    complaint = _strict_complaint(model)
    if complaint and not broken_before:
        for name, old in before.items():
            inputs[name].shape = old
        raise SpecError(
            f"With these input shapes the model is inconsistent: {complaint}",
            remedy="Give shapes that the model was made for",
        )
    _substitute(model, symbols)
    infer_shapes(model)


def check_static_inputs(model: ir.Model) -> None:
    """Raise SpecError unless every input has a static shape, giving the specs that fix it."""
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    # Sequences and optionals have no shape; they are refused for what they are.
    tensors = [v for v in inputs if v.type is None or isinstance(v.type, ir.TensorType)]
    dynamic = [v for v in tensors if v.shape is None or not v.shape.is_static()]
    if not dynamic:
        return
    told = "; ".join(describe_input(value) for value in dynamic)
    arguments = " ".join(f"--input-spec {_suggested_spec(value)}" for value in dynamic)
    raise SpecError(
        f"The shapes of these inputs are not fixed: {told}",
        remedy=f"Compile the model with {arguments}, with numbers in place of any letters",
    )


def describe_input(value: ir.Value) -> str:
    """Return how messages tell an input: name, dtype and shape."""
    dims = None if value.shape is None else [_dim_text(dim, "?") for dim in value.shape]
    shape = "of unknown rank" if dims is None else "x".join(dims) or "scalar"
    return f"'{value.name}' {_dtype_text(value)} {shape}"


def _suggested_spec(value: ir.Value) -> str:
    dims = ["SHAPE"]
    if value.shape is not None:
        dims = [_dim_text(dim, f"N{index}") for index, dim in enumerate(value.shape)]
        # A dynamic first dim is nearly always the batch, and models run one sample at a time.
        if dims and not isinstance(value.shape[0], int):
            dims[0] = "1"
    return f"{value.name}:{'x'.join(dims)}:{_dtype_text(value)}"


def _dim_text(dim: int | ir.SymbolicDim, unknown: str) -> str:
    return str(dim) if isinstance(dim, int) else dim.value or unknown


def _dtype_text(value: ir.Value) -> str:
    return "unknown" if value.dtype is None else str(value.dtype.numpy().name)


def _bind(value: ir.Value, shape: tuple[int, ...], symbols: dict[str, int]) -> None:
    """Check ``shape`` against what ``value`` declares; collect what its named dims become."""
    if any(dim < 0 for dim in shape):
        raise SpecError(f"The shape {shape} has a negative dim", tensor=value.name)
    if value.shape is None:
        return
    declared = list(value.shape)
    if len(declared) != len(shape):
        raise SpecError(
            f"The shape {shape} has rank {len(shape)}, the model's input has rank {len(declared)}",
            tensor=value.name,
            remedy=f"Give a shape that fits {value.shape}",
        )
    for index, (old, new) in enumerate(zip(declared, shape, strict=True)):
        if isinstance(old, int):
            wanted: int | None = old
        else:
            wanted = symbols.setdefault(old.value, new) if old.value else None
        if wanted is not None and wanted != new:
            raise SpecError(
                f"Dim {index} is given as {new}, but it is {wanted} in the model"
                f"{'' if isinstance(old, int) else f' (dim {old.value!r})'}",
                tensor=value.name,
                remedy=f"Give a shape that fits {value.shape}",
            )


def _substitute(model: ir.Model, symbols: Mapping[str, int]) -> None:
    values = list(model.graph.inputs)
    for node in model.graph:
        values.extend(node.outputs)
    for value in values:
        if value.shape is None or value.shape.is_static():
            continue
        dims = [_plain(dim) for dim in value.shape]
        value.shape = ir.Shape([symbols.get(d, d) if isinstance(d, str) else d for d in dims])


def _merge(value: ir.Value, inferred: onnx.TypeProto, known: set[str | None]) -> bool:
    """Write the inferred type to ``value``; return whether that changed it."""
    modified = False
    kind = ir.serde.deserialize_type_proto_for_type(inferred)
    if kind is not None and kind != value.type:
        value.type = kind
        modified = True
    shape = ir.serde.deserialize_type_proto_for_shape(inferred)
    if shape is None:
        return modified
    # Symbols that inference invents are numbered anew in each run: comparing them lies.
    dims = [_known(_plain(dim), known) for dim in shape]
    old = None if value.shape is None else [_plain(dim) for dim in value.shape]
    if old is not None and len(old) == len(dims):
        dims = [
            o if n is None or (isinstance(n, str) and o) else n
            for o, n in zip(old, dims, strict=True)
        ]
    if dims != old:
        value.shape = ir.Shape(dims)
        modified = True
    return modified


def _known(dim: Dim, known: set[str | None]) -> Dim:
    return dim if isinstance(dim, int) or dim in known else None


def _plain(dim: int | ir.SymbolicDim) -> Dim:
    return dim if isinstance(dim, int) else dim.value


def _symbols(shape: ir.Shape | None) -> list[ir.SymbolicDim]:
    return [] if shape is None else [d for d in shape if isinstance(d, ir.SymbolicDim)]


def _inferred_types(model: ir.Model) -> tuple[dict[str, onnx.TypeProto], tuple[str, ...]]:
    skeleton = _skeleton(model)
    types, notes = _infer(skeleton)
    inputs = {value.name: value.type for value in skeleton.graph.input}
    while clip_first_pool(skeleton.graph, {**inputs, **types}):
        types, notes = _infer(skeleton)
    return types, notes


def _infer(skeleton: onnx.ModelProto) -> tuple[dict[str, onnx.TypeProto], tuple[str, ...]]:
    notes: list[str] = []
    for strict in (True, False):
        try:
            result = onnx.shape_inference.infer_shapes(
                skeleton, check_type=strict, strict_mode=strict, data_prop=True
            )
        except Exception as error:
            notes.append(f"shape inference complains: {_first_lines(error)}")
            continue
        types = {v.name: v.type for v in (*result.graph.value_info, *result.graph.output)}
        return types, tuple(notes)
    return {}, tuple(dict.fromkeys(notes))


def _strict_complaint(model: ir.Model) -> str | None:
    try:
        onnx.shape_inference.infer_shapes(
            _skeleton(model), check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:
        return _first_lines(error)
    return None


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _skeleton(model: ir.Model) -> onnx.ModelProto:
    """Return the model without large weights (they become inputs) and declared inner shapes."""
    proto = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    for domain, version in sorted(model.graph.opset_imports.items()):
        proto.opset_import.add(domain=domain, version=version)
    graph = proto.graph
    graph.name = "skeleton"
    graph.input.extend(
        ir.serde.serialize_value(v) for v in model.graph.inputs if not v.is_initializer()
    )
    for value in model.graph.initializers.values():
        _add_constant(graph, value)
    graph.node.extend(ir.serde.serialize_node(node) for node in model.graph)
    # Outputs without their declared types, so that a wrong declaration cannot stop inference.
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.outputs)
    proto.functions.extend(ir.serde.serialize_function(f) for f in model.functions.values())
    return proto


def _add_constant(graph: onnx.GraphProto, value: ir.Value) -> None:
    tensor = value.const_value
    assert tensor is not None
    if tensor.nbytes <= SMALL_TENSOR_BYTES:
        if isinstance(tensor, ir.ExternalTensor):
            tensor = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
        proto = graph.initializer.add()
        ir.serde.serialize_tensor_into(proto, tensor)
        proto.name = str(value.name)
        return
    info = graph.input.add(name=value.name)
    info.type.tensor_type.elem_type = tensor.dtype
    for dim in tensor.shape.numpy():
        info.type.tensor_type.shape.dim.add(dim_value=dim)
