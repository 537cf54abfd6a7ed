"""What a ``.tflite`` file holds, told without LiteRT, and checked before LiteRT sees it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from qdq.base.errors import ModelCorruptError
from qdq.runtime.litert.flatbuffer import IDENTIFIER, Data, Table, read_root, tflite_schema
from qdq.runtime.litert.soundness import check_sound

__all__ = [
    "PROVENANCE_KEY",
    "Signature",
    "TfliteFile",
    "TfliteGraph",
    "TfliteOp",
    "TfliteTensor",
    "is_tflite",
    "parse_tflite",
    "read_tflite",
]

PROVENANCE_KEY = "qdq.provenance"

_OWNER = "qdq"
_LARGEST_METADATA = 64 << 20
_NUMPY = {
    "STRING": "str",
    **{
        f"{sign}INT{bits}": f"{sign}INT{bits}".lower() for sign in ("", "U") for bits in (8, 16, 32)
    },
    "INT64": "int64",
    "UINT64": "uint64",
}


@dataclass(frozen=True, slots=True)
class TfliteTensor:
    """A tensor; ``shape`` has None for open dimensions, ``stored_shape`` the size they begin with.

    ``dtype`` is numpy's name, or TFLite's in lower case.  ``scale`` and ``zero_point`` are set for
    one encoding of the whole tensor; ``scales`` counts those of channels.  ``nbytes`` is the size
    of a constant's data.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    stored_shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    scales: int
    constant: bool
    variable: bool
    nbytes: int


@dataclass(frozen=True, slots=True)
class TfliteOp:
    """An op: ``op_type`` is TFLite's name of it, or the custom op's own; -1 is an absent input."""

    op_type: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TfliteGraph:
    """A subgraph; inputs, outputs and operands are indexes of ``tensors``."""

    name: str
    tensors: tuple[TfliteTensor, ...]
    ops: tuple[TfliteOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Names of a subgraph's inputs and outputs, by the index of the tensor."""

    key: str
    subgraph: int
    inputs: Mapping[int, str]
    outputs: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class TfliteFile:
    """A checked file; ``metadata`` has the entries that qdq itself writes."""

    version: int
    description: str
    graphs: tuple[TfliteGraph, ...]
    signatures: tuple[Signature, ...]
    metadata: Mapping[str, bytes] = field(repr=False)

    @property
    def main(self) -> TfliteGraph:
        """The subgraph that runs."""
        return self.graphs[0]

    def edge_names(self, *, outputs: bool = False) -> tuple[str, ...]:
        """Return the names of the main graph's inputs or outputs: the signature's, or the tensors'.

        Names that would come twice are followed by the index of their tensor.
        """
        graph = self.main
        known = next((it for it in self.signatures if it.subgraph == 0), None)
        told: Mapping[int, str] = {}
        if known is not None:
            told = known.outputs if outputs else known.inputs
        names: list[str] = []
        for index in graph.outputs if outputs else graph.inputs:
            name = told.get(index) or graph.tensors[index].name or f"tensor_{index}"
            names.append(name if name not in names else f"{name}_{index}")
        return tuple(names)


def is_tflite(path: str | os.PathLike[str]) -> bool:
    """Tell by its first bytes whether ``path`` is a TFLite file."""
    place = Path(path)
    if not place.is_file():
        return False
    with place.open("rb") as file:
        return file.read(8)[4:] == IDENTIFIER


def read_tflite(path: str | os.PathLike[str]) -> TfliteFile:
    """Read and check the file at ``path``; weights are not read.

    Raises ModelCorruptError where bytes contradict the format, ModelInvalidError where the graph
    contradicts itself, UnsupportedError for weights in other files.
    """
    place = Path(path)
    if not place.is_file():
        raise ModelCorruptError(
            f"'{place}' is not a file", remedy="Give the path of a .tflite file"
        )
    try:
        with place.open("rb") as file:
            return _read_open(file)
    except OSError as error:
        raise ModelCorruptError(
            f"Cannot read '{place}': {error.strerror or error}", remedy="Check its permissions"
        ) from error


def parse_tflite(data: Data) -> TfliteFile:
    """Return what the bytes of a TFLite file hold; the errors are those of ``read_tflite``."""
    root = read_root(data)
    check_sound(root, data)
    return _model(root, data)


def _read_open(file: BinaryIO) -> TfliteFile:
    if os.fstat(file.fileno()).st_size == 0:
        return parse_tflite(b"")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return parse_tflite(data)


def _model(root: Table, data: Data) -> TfliteFile:
    codes = [_op_type(code) for code in root.tables("operator_codes", "OperatorCode")]
    sizes = [
        it.span("data")[1] or it.number("size", "Q") for it in root.tables("buffers", "Buffer")
    ]
    return TfliteFile(
        version=root.number("version", "I"),
        description=root.text("description"),
        graphs=tuple(_graph(it, codes, sizes) for it in root.tables("subgraphs", "SubGraph")),
        signatures=tuple(_signature(it) for it in root.tables("signature_defs", "SignatureDef")),
        metadata=_metadata(root, data),
    )


def _graph(table: Table, codes: list[tuple[str, bool]], sizes: list[int]) -> TfliteGraph:
    return TfliteGraph(
        name=table.text("name"),
        tensors=tuple(_tensor(it, sizes) for it in table.tables("tensors", "Tensor")),
        ops=tuple(_op(it, codes) for it in table.tables("operators", "Operator")),
        inputs=table.numbers("inputs"),
        outputs=table.numbers("outputs"),
    )


def _tensor(table: Table, sizes: list[int]) -> TfliteTensor:
    stored = table.numbers("shape")
    signature = table.numbers("shape_signature") or stored
    nbytes = sizes[table.number("buffer", "I")]
    scale, zero_point, scales = _encoding(table.table("quantization", "QuantizationParameters"))
    return TfliteTensor(
        name=table.text("name"),
        dtype=tensor_dtype(table.number("type", "b")),
        shape=tuple(None if dim < 0 else dim for dim in signature),
        stored_shape=stored,
        scale=scale,
        zero_point=zero_point,
        scales=scales,
        constant=nbytes > 0,
        variable=bool(table.number("is_variable", "b")),
        nbytes=nbytes,
    )


def tensor_dtype(number: int) -> str:
    """Return the name of a TensorType: numpy's, or TFLite's in lower case."""
    name = tflite_schema().enums["TensorType"][number]
    return _NUMPY.get(name, name.lower())


def _encoding(table: Table | None) -> tuple[float | None, int | None, int]:
    if table is None:
        return None, None, 0
    count = table.span("scale")[1]
    if count != 1:
        return None, None, count
    zero_points = table.numbers("zero_point", "q", most=1)
    return float(table.numbers("scale", "f")[0]), int(zero_points[0]) if zero_points else 0, 1


def _op(table: Table, codes: list[tuple[str, bool]]) -> TfliteOp:
    op_type, custom = codes[table.number("opcode_index", "I")]
    return TfliteOp(op_type, custom, table.numbers("inputs"), table.numbers("outputs"))


def _op_type(code: Table) -> tuple[str, bool]:
    number = builtin_code(code)
    names = tflite_schema().enums["BuiltinOperator"]
    if names[number] == "CUSTOM":
        return code.text("custom_code") or "CUSTOM", True
    return names[number], False


def builtin_code(code: Table) -> int:
    """Return the number of an op: it moved to a wider field when 127 were not enough."""
    old, new = code.number("deprecated_builtin_code", "b"), code.number("builtin_code", "i")
    return max(old, new)


def _signature(table: Table) -> Signature:
    return Signature(
        key=table.text("signature_key"),
        subgraph=table.number("subgraph_index", "I"),
        inputs=_names(table, "inputs"),
        outputs=_names(table, "outputs"),
    )


def _names(table: Table, side: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for entry in table.tables(side, "TensorMap"):
        names.setdefault(entry.number("tensor_index", "I"), entry.text("name"))
    return names


def _metadata(root: Table, data: Data) -> dict[str, bytes]:
    buffers = root.tables("buffers", "Buffer")
    found: dict[str, bytes] = {}
    for entry in root.tables("metadata", "Metadata"):
        name = entry.text("name")
        if name.partition(".")[0] != _OWNER or name in found:
            continue
        start, size = buffers[entry.number("buffer", "I")].span("data")
        if size <= _LARGEST_METADATA:
            found[name] = bytes(data[start : start + size])
    return found
