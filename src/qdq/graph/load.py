"""Load an ONNX model from untrusted files into the graph that the core works on."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx_ir as ir

from qdq.base.errors import ModelCorruptError, ModelInvalidError, QdqError
from qdq.graph.edit import name_nodes
from qdq.graph.external import check_tensors
from qdq.graph.functions import inline_functions
from qdq.graph.passes.inputs import FIRST_IR_VERSION_WITHOUT_INPUTS, drop_initializer_inputs
from qdq.graph.wellformed import check_well_formed, normalize
from qdq.graph.wire import is_onnx_file, read_model_proto

__all__ = ["load_model", "model_file", "model_from_proto"]


def load_model(path: str | os.PathLike[str]) -> ir.Model:
    """Load ``path``: an ONNX file, or a folder with exactly one.

    External data is checked first and then mapped, not read; local functions are inlined; nodes
    are in topological order, and no two have one name.  Raises ModelCorruptError for bytes that
    are no model, ModelInvalidError for one that breaks a rule and UnsupportedError for sparse
    weights.
    """
    file = model_file(Path(path))
    return model_from_proto(read_model_proto(file), folder=file.parent)


def model_file(path: Path) -> Path:
    """Return the ONNX file that ``path`` is or, as a folder, contains."""
    if not path.exists():
        raise ModelCorruptError(f"'{path}' does not exist", remedy="Check the path")
    if not path.is_dir():
        if not path.is_file():
            raise ModelCorruptError(f"'{path}' is not a regular file", remedy="Give a file")
        return path
    found = [entry for entry in sorted(path.iterdir()) if entry.is_file() and is_onnx_file(entry)]
    if len(found) != 1:
        names = ", ".join(entry.name for entry in found) or "none"
        raise ModelInvalidError(
            f"The folder '{path}' must contain exactly one ONNX model, found: {names}",
            remedy="Give the path of the file",
        )
    return found[0]


def model_from_proto(proto: onnx.ModelProto, *, folder: Path) -> ir.Model:
    """Check a parsed model whose external data lies in ``folder``, and build the graph."""
    try:
        normalize(proto)
        check_tensors(proto, folder)
        check_well_formed(proto)
        model = ir.serde.deserialize_model(proto)
    except QdqError:
        raise
    except Exception as error:  # hostile bytes reach onnx and onnx_ir here
        raise ModelInvalidError(
            f"The graph cannot be built: {_root(error)}", remedy="Export the model again"
        ) from error
    _locate_external_data(model, folder)
    inline_functions(model)
    # ONNX allows two nodes of one name, ONNX Runtime does not.
    name_nodes(model.graph, unnamed=False)
    if model.ir_version < FIRST_IR_VERSION_WITHOUT_INPUTS:
        drop_initializer_inputs(model)
    try:
        model.graph.sort()
    except ValueError as error:
        raise ModelInvalidError(
            "The nodes of the graph form a cycle", remedy="Export the model again"
        ) from error
    return model


def _locate_external_data(model: ir.Model, folder: Path) -> None:
    """Tell external tensors where they are; those in attributes become mapped arrays."""
    base = str(folder.resolve())
    for graph in model.graphs():
        ir.external_data.set_base_dir(graph, base)
    for node in model.graph.all_nodes():
        for name, attribute in tuple(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                tensor = attribute.as_tensor()
                if isinstance(tensor, ir.ExternalTensor):
                    mapped = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)
                    node.attributes[name] = ir.AttrTensor(name, mapped)


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300]
