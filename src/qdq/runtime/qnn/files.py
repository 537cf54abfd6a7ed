"""Compiled models as callers give them: a context binary, or an ONNX model that wraps one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from qdq.base.errors import ModelCorruptError, ModelInvalidError, UnsupportedError
from qdq.base.qnn_files import EP_CONTEXT, QnnKind, qnn_kind
from qdq.graph import model_file
from qdq.runtime.qnn.wrapper import SHA256_KEY

__all__ = ["Compiled", "is_qnn", "open_compiled"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A context binary's file, and the name of the graph that is meant, if one is."""

    kind: QnnKind
    binary: Path
    graph: str | None


def is_qnn(source: object) -> bool:
    """Tell whether ``source`` is the path of a model that QNN's compiler made."""
    return isinstance(source, str | os.PathLike) and qnn_kind(source) is not None


@contextmanager
def open_compiled(path: str | os.PathLike[str]) -> Iterator[Compiled]:
    """Give the context binary behind ``path``: the file itself, or what a wrapper names or holds.

    Raises ModelInvalidError for a wrapper without its binary, UnsupportedError for one that does
    more than run one compiled graph, and for a DLC.
    """
    place = Path(path)
    kind = qnn_kind(place)
    if kind is QnnKind.CONTEXT_BINARY:
        yield Compiled(kind, place, None)
    elif kind is QnnKind.PRECOMPILED:
        with _open_wrapper(model_file(place)) as compiled:
            yield compiled
    else:
        raise UnsupportedError(
            f"'{place}' holds no compiled graph",
            remedy="Give a QNN context binary, or a precompiled ONNX model",
        )


@contextmanager
def _open_wrapper(path: Path) -> Iterator[Compiled]:
    model = _load(path)
    node = _context_node(model, path)
    found = {it.name: onnx.helper.get_attribute_value(it) for it in node.attribute}
    cache = found.get("ep_cache_context", b"")
    graph = _graph_name(node, found)
    if not found.get("embed_mode", 1):
        binary = _beside(path, cache)
        _check_digest(model, binary)
        yield Compiled(QnnKind.PRECOMPILED, binary, graph)
        return
    with tempfile.TemporaryDirectory(prefix="qdq-context-") as folder:
        binary = Path(folder, "model_qnn.bin")
        binary.write_bytes(cache)
        yield Compiled(QnnKind.PRECOMPILED, binary, graph)


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # hostile bytes reach protobuf here
        raise ModelCorruptError(
            f"'{path}' cannot be read as ONNX", remedy="Compile the model again"
        ) from error


def _check_digest(model: onnx.ModelProto, binary: Path) -> None:
    wanted = {entry.key: entry.value for entry in model.metadata_props}.get(SHA256_KEY)
    with binary.open("rb") as file:
        if wanted in (None, hashlib.file_digest(file, "sha256").hexdigest()):
            return
    raise ModelInvalidError(
        f"'{binary.name}' is not the context binary that was compiled: its SHA-256 differs",
        remedy="Copy the precompiled model again, or compile it again",
    )


def _context_node(model: onnx.ModelProto, path: Path) -> Any:
    nodes = list(model.graph.node)
    if len(nodes) != 1 or nodes[0].op_type != EP_CONTEXT:
        raise UnsupportedError(
            f"'{path.name}' has {len(nodes)} nodes, and only a single {EP_CONTEXT} node can be run",
            remedy="Compile the whole model for the NPU",
        )
    return nodes[0]


def _graph_name(node: Any, found: dict[str, Any]) -> str | None:
    partition = found.get("partition_name", b"")
    return partition.decode("utf-8", "replace") or node.name or None


def _beside(path: Path, name: bytes) -> Path:
    text = name.decode("utf-8", "replace")
    # No folder, no parent: only a file beside the model.
    if not text or Path(text).name != text or text in (".", ".."):
        raise ModelInvalidError(
            f"'{path.name}' names its context binary '{text[:100]}', which is no plain name",
            remedy="Compile the model again",
        )
    binary = path.with_name(text)
    if binary.is_symlink() or not binary.is_file():
        raise ModelInvalidError(
            f"The context binary '{text[:100]}' of '{path.name}' is not beside it",
            remedy="Keep the two files of a precompiled model in one folder",
        )
    return binary
