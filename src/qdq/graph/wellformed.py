"""Rules of ONNX that everything here relies on, checked on the parsed file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
import onnx.checker

from qdq.base.errors import ModelInvalidError, UnsupportedError

__all__ = ["check_well_formed", "normalize"]

DEFAULT_DOMAINS = ("", "ai.onnx")
# Spellings of "unknown" that some exporters use; they are no names that two dims share.
UNKNOWN_DIMS = frozenset({"?", "-1", "None", "none"})


def check_well_formed(proto: onnx.ModelProto) -> None:
    """Check versions, names and that each node's inputs exist; raise ModelInvalidError."""
    _check_text(proto)
    if proto.ir_version <= 0:
        raise ModelInvalidError("The model has no ir_version", remedy="Export the model again")
    _check_opset(proto)
    _check_graph(proto.graph, frozenset(), _function_names(proto))
    _check_nodes(proto)


def normalize(proto: onnx.ModelProto) -> None:
    """Spell the default domain '' and unknown dims as unknown, in place."""
    for opset in proto.opset_import:
        if opset.domain == "ai.onnx":
            opset.domain = ""
    _normalize_domains(proto.graph)
    infos = (*proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    for info in infos:
        if info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape"):
            for dim in info.type.tensor_type.shape.dim:
                if dim.dim_value < 0 or dim.dim_param in UNKNOWN_DIMS:
                    dim.ClearField("value")


def _normalize_domains(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.domain == "ai.onnx":
            node.domain = ""
        for subgraph in _subgraphs(node):
            _normalize_domains(subgraph)


def _check_opset(proto: onnx.ModelProto) -> None:
    versions = {o.version for o in proto.opset_import if o.domain in DEFAULT_DOMAINS}
    if len(versions) != 1:
        found = "several versions" if versions else "no version"
        raise ModelInvalidError(
            f"The model imports {found} of the default operator set",
            remedy="Export the model again",
        )
    version, newest = versions.pop(), onnx.defs.onnx_opset_version()
    if not 1 <= version <= newest:
        raise UnsupportedError(
            f"The model uses operator set {version}, the newest one known here is {newest}",
            remedy="Export the model with an older opset",
        )


def _function_names(proto: onnx.ModelProto) -> frozenset[tuple[str, str]]:
    return frozenset((f.domain, f.name) for f in proto.functions)


def _check_text(message: Any) -> None:
    """Refuse names that are not UTF-8, which protobuf lets through and whoever reads them trips on.

    Walks every message but tensors, whose names are checked with the graph's.
    """
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            for text in [value] if isinstance(value, str | bytes) else value:
                if not isinstance(text, str):
                    raise ModelInvalidError(
                        f"The text {text!r} in field '{field.name}' is not UTF-8",
                        remedy="Export the model again",
                    )
        elif field.type == field.TYPE_MESSAGE and field.message_type.name != "TensorProto":
            for part in [value] if hasattr(value, "ListFields") else value:
                _check_text(part)


def _check_graph(
    graph: onnx.GraphProto, outer: frozenset[str], functions: frozenset[tuple[str, str]]
) -> None:
    if graph.sparse_initializer:
        raise UnsupportedError(
            "Sparse initializers are not supported", remedy="Export with dense weights"
        )
    outputs = [output for node in graph.node for output in node.output if output]
    made = set(outputs)
    sources = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    _check_unique(graph, outputs, sources)
    visible = outer | sources | made
    for node in graph.node:
        for name in node.input:
            if name and name not in visible:
                raise ModelInvalidError(
                    f"Its input '{name}' is made by nothing in the model",
                    node=_label(node),
                    op_type=node.op_type,
                    remedy="Export the model again",
                )
        for subgraph in _subgraphs(node):
            _check_graph(subgraph, frozenset(visible), functions)
    for value in graph.output:
        if value.name not in sources and value.name not in made:
            raise ModelInvalidError(
                "It is a graph output, but nothing in its graph makes it", tensor=value.name
            )


def _check_unique(graph: onnx.GraphProto, made: list[str], sources: set[str]) -> None:
    names = [value.name for value in graph.input]
    constants = [tensor.name for tensor in graph.initializer]
    for group in (names, constants, [*made, *sources], [v.name for v in graph.output]):
        seen: set[str] = set()
        for name in group:
            if name in seen:
                raise ModelInvalidError(
                    "It is defined more than once", tensor=name, remedy="Export the model again"
                )
            seen.add(name)
    if "" in names or "" in constants:
        raise ModelInvalidError("A graph input or an initializer has no name")


def _check_nodes(proto: onnx.ModelProto) -> None:
    """Let onnx check attributes and arity of each node of the default domain."""
    context = onnx.checker.C.CheckerContext()
    context.ir_version = proto.ir_version
    context.opset_imports = {o.domain: o.version for o in proto.opset_import}
    for node in proto.graph.node:
        # Constants were checked by their size, subgraphs by _check_graph; both can be large.
        skip = node.op_type == "Constant" or any(True for _ in _subgraphs(node))
        if skip or node.domain not in DEFAULT_DOMAINS:
            continue
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            raise ModelInvalidError(
                f"It breaks a rule of ONNX: {_first_sentence(error)}",
                node=_label(node),
                op_type=node.op_type,
                remedy="Export the model again",
            ) from error


def _subgraphs(node: onnx.NodeProto) -> Iterable[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _label(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), node.op_type)


def _first_sentence(error: Exception) -> str:
    return str(error).split("==> Context")[0].strip().splitlines()[0]
