"""Save a model so that a failure leaves what was there, with external data when it is large."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir

from qdq.base.atomic import atomic_output
from qdq.base.errors import InternalError, OutputError

__all__ = ["save_model"]

# protobuf refuses 2 GB; what is not weights (names, nodes, shapes) has this much room below it.
EXTERNAL_ABOVE_BYTES = 2**31 - 2**26
# Smaller tensors stay in the model file even so: shapes and scales must be readable without data.
INLINE_TENSOR_BYTES = 1024


def save_model(
    model: ir.Model,
    path: str | os.PathLike[str],
    *,
    external_data: bool | None = None,
    external_above: int = EXTERNAL_ABOVE_BYTES,
) -> None:
    """Write ``model`` to ``path``; weights go to ``<name>.data`` beside it when asked or large.

    ``external_data=None`` decides by size: above ``external_above`` bytes of weights.  The data
    file is published first, then the model.  The same model gives the same bytes.  Weights are
    streamed to the data file, one at a time.  Raises OutputError when writing fails.
    """
    target = Path(path)
    weight_bytes = _weight_bytes(model)
    if external_data is None:
        external_data = weight_bytes > external_above
    elif not external_data and weight_bytes > EXTERNAL_ABOVE_BYTES:
        raise OutputError(
            f"A model with {weight_bytes} bytes of weights does not fit one file",
            remedy="Save it with external data",
        )
    with atomic_output(target) as temporary:
        if not external_data:
            with _replaced(_in_memory(model)):
                _write_proto(model, temporary)
            return
        data = target.with_name(f"{target.name}.data")
        with atomic_output(data) as temporary_data:
            moved = _write_data(model, temporary_data, data)
            with _replaced(moved):
                _write_proto(model, temporary)
            relocated = _reads_from(model, data, moved)
    # The file under these tensors has been replaced: read them from where they are now.
    for value, tensor in relocated.items():
        value.const_value = tensor


Replacements = dict[ir.Value, ir.TensorProtocol]


def _initializers(model: ir.Model) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value, value.const_value


def _weight_bytes(model: ir.Model) -> int:
    total = sum(tensor.nbytes for _, tensor in _initializers(model))
    for node in model.graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                total += attribute.as_tensor().nbytes
    return total


def _in_memory(model: ir.Model) -> Replacements:
    """Return mapped stand-ins for external tensors, which would be written as references."""
    return {
        value: ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
        for value, tensor in _initializers(model)
        if isinstance(tensor, ir.ExternalTensor)
    }


def _write_data(model: ir.Model, temporary: Path, data: Path) -> Replacements:
    """Stream the large tensors to ``temporary``; return their references to ``data``."""
    moved: Replacements = {}
    with temporary.open("wb") as file:
        for value, tensor in _initializers(model):
            if tensor.nbytes <= INLINE_TENSOR_BYTES or tensor.dtype == ir.DataType.STRING:
                if isinstance(tensor, ir.ExternalTensor):
                    moved[value] = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
                continue
            offset = file.tell()
            _write_tensor(tensor, file)
            moved[value] = ir.ExternalTensor(
                data.name,
                offset,
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=str(value.name),
                base_dir=str(data.parent.resolve()),
            )
    return moved


def _write_tensor(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    start = file.tell()
    if isinstance(tensor, ir.Tensor | ir.ExternalTensor):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
    if file.tell() - start != tensor.nbytes:
        raise InternalError(
            f"Wrote {file.tell() - start} bytes, expected {tensor.nbytes}", tensor=tensor.name
        )


def _reads_from(model: ir.Model, data: Path, moved: Replacements) -> Replacements:
    return {
        value: moved[value]
        for value, tensor in _initializers(model)
        if value in moved
        and isinstance(tensor, ir.ExternalTensor)
        and Path(tensor.path).resolve() == data.resolve()
    }


@contextlib.contextmanager
def _replaced(tensors: Replacements) -> Iterator[None]:
    """Give values other tensors for the time of a serialization."""
    originals = {value: value.const_value for value in tensors}
    try:
        for value, tensor in tensors.items():
            value.const_value = tensor
        yield
    finally:
        for value, original in originals.items():
            value.const_value = original


def _write_proto(model: ir.Model, path: Path) -> None:
    proto: onnx.ModelProto = ir.serde.serialize_model(model)
    path.write_bytes(proto.SerializeToString(deterministic=True))
