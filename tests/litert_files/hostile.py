"""TFLite files that contradict themselves, each by name; made of sound ones."""

from __future__ import annotations

import struct
from collections.abc import Callable

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from litert_files.build import FileBuilder
from litert_files.models import add, conv, custom

__all__ = ["CORRUPT", "HOSTILE", "INVALID", "UNRUNNABLE", "UNSUPPORTED"]


def _root(data: bytes) -> int:
    return struct.unpack_from("<I", data)[0]


def _put(data: bytes, place: int, form: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(f"<{form}", changed, place, value)
    return bytes(changed)


def _field(data: bytes, table: int, slot: int) -> int:
    """The place of a field of a table."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    return table + struct.unpack_from("<H", data, vtable + 4 + 2 * slot)[0]


def _follow(data: bytes, place: int) -> int:
    return place + struct.unpack_from("<I", data, place)[0]


def _subgraphs(data: bytes) -> int:
    """The place of the vector of subgraphs."""
    return _follow(data, _field(data, _root(data), 2))


def _changed(change: Callable[[FileBuilder], None]) -> Callable[[], bytes]:
    def make() -> bytes:
        file = add()
        change(file)
        return file.data()

    return make


def _conv() -> bytes:
    return conv()[0].data()


def _wide_bomb() -> bytes:
    """Many vectors that overlap, each a few hundred thousand tables long."""
    count = 1 << 17
    words = bytearray(b"".join(struct.pack("<I", 4 * count) for _ in range(3 * count)))
    data = bytearray(add().data())
    begin = (len(data) + 3) & ~3
    data += bytes(begin - len(data)) + words
    place = _field(bytes(data), _root(bytes(data)), 2)
    struct.pack_into("<I", data, place, begin - place)
    struct.pack_into("<I", data, begin, count)
    return bytes(data)


def _shared_bomb() -> bytes:
    """Thousands of subgraphs that are one and the same table of thousands of tensors."""
    builder = flatbuffers.Builder(1 << 20)
    schema.TensorStart(builder)
    tensor = schema.TensorEnd(builder)
    tensors = _vector(builder, schema.SubGraphStartTensorsVector, [tensor] * 5000)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    graphs = _vector(builder, schema.ModelStartSubgraphsVector, [graph] * 60_000)
    schema.BufferStart(builder)
    buffers = _vector(builder, schema.ModelStartBuffersVector, [schema.BufferEnd(builder)])
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def _vector(
    builder: flatbuffers.Builder, start: Callable[[flatbuffers.Builder, int], int], items: list[int]
) -> int:
    start(builder, len(items))
    for item in items:
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def _called(name: str, kind: str, **fields: int) -> Callable[[], bytes]:
    def make() -> bytes:
        file = add()
        file.op(name, [file.graph.inputs[0]], [file.tensor("more", (1, 4))], options=kind, **fields)
        return file.data()

    return make


def _late(file: FileBuilder) -> None:
    # The first op reads what the second one writes, and the other way round.
    left, right, total = 0, 1, 2
    other = file.tensor("other", (1, 4))
    file.graph.operators[0].inputs = [left, other]
    file.op("ADD", [total, right], [other], options="AddOptions")


def _tensor(**fields: object) -> Callable[[], bytes]:
    def change(file: FileBuilder) -> None:
        for name, value in fields.items():
            assert hasattr(file.graph.tensors[2], name)
            setattr(file.graph.tensors[2], name, value)

    return _changed(change)


def _weights_shorter() -> bytes:
    file, _ = conv()
    file.model.buffers[file.graph.tensors[1].buffer].data = b"\0" * 16
    return file.data()


def _scales(count: int, axis: int) -> Callable[[], bytes]:
    def change(file: FileBuilder) -> None:
        it = schema.QuantizationParametersT()
        it.scale, it.zeroPoint, it.quantizedDimension = [0.5] * count, [0] * count, axis
        file.graph.tensors[0].quantization = it

    return _changed(change)


def _writes_constant() -> bytes:
    file, _ = conv()
    file.graph.operators[0].outputs = [1]
    return file.data()


def _external() -> bytes:
    file = add()
    group, buffer = schema.ExternalBufferGroupT(), schema.ExternalBufferT()
    group.name = "/etc/passwd"
    file.model.externalBufferGroups, file.model.externalBuffers = [group], [buffer]
    return file.data()


def _buffer_behind() -> bytes:
    file = add()
    file.model.buffers[0].offset, file.model.buffers[0].size = 100, 1 << 40
    return file.data()


def _no_graph(file: FileBuilder) -> None:
    file.model.subgraphs = []


def _signature(file: FileBuilder) -> None:
    file.model.signatureDefs[0].inputs[0].tensorIndex = 77


CORRUPT: dict[str, Callable[[], bytes]] = {
    "truncated_half": lambda: _conv()[: len(_conv()) // 2],
    "truncated_head": lambda: _conv()[:11],
    "identifier_alone": lambda: b"\x1c\0\0\0TFL3",
    "other_identifier": lambda: _put(_conv(), 4, "I", int.from_bytes(b"TFL9", "little")),
    "root_outside": lambda: _put(_conv(), 0, "I", 1 << 30),
    "root_to_itself": lambda: _put(_conv(), 0, "I", 0),
    "vtable_outside": lambda: _put(_conv(), _root(_conv()), "i", -(1 << 28)),
    "vtable_before": lambda: _put(_conv(), _root(_conv()), "i", 1 << 28),
    "vtable_odd": lambda: _put(
        _conv(), _root(_conv()) - struct.unpack_from("<i", _conv(), _root(_conv()))[0], "H", 5
    ),
    "huge_count": lambda: _put(_conv(), _subgraphs(_conv()), "I", 0xFFFFFFFF),
    "large_count": lambda: _put(_conv(), _subgraphs(_conv()), "I", 1 << 20),
    "offset_outside": lambda: _put(
        _conv(), _field(_conv(), _root(_conv()), 2), "I", 0x7FFFFFFF
    ),
    "shape_outside": lambda: _put(
        _conv(),
        _field(
            _conv(),
            _follow(_conv(), _follow(_conv(), _field(
                _conv(), _follow(_conv(), _subgraphs(_conv()) + 4), 0)) + 4),
            0,
        ),
        "I",
        1 << 29,
    ),
    "wide_bomb": _wide_bomb,
    "shared_bomb": _shared_bomb,
}  # fmt: skip

INVALID: dict[str, Callable[[], bytes]] = {
    "tensor_index_outside": _changed(
        lambda it: it.graph.operators[0].__setattr__("inputs", [0, 9])
    ),
    "tensor_index_negative": _changed(
        lambda it: it.graph.operators[0].__setattr__("inputs", [0, -2])
    ),
    "output_index_negative": _changed(
        lambda it: it.graph.operators[0].__setattr__("outputs", [-1])
    ),
    "graph_input_outside": _changed(lambda it: it.graph.__setattr__("inputs", [0, 1 << 30])),
    "graph_output_outside": _changed(lambda it: it.graph.__setattr__("outputs", [-1])),
    "opcode_outside": _changed(lambda it: it.graph.operators[0].__setattr__("opcodeIndex", 5)),
    "buffer_outside": _tensor(buffer=99),
    "cycle": _changed(_late),
    "nothing_computes_output": _changed(lambda it: it.graph.__setattr__("operators", [])),
    "negative_dim": _tensor(shape=[1, -4]),
    "negative_signature": _tensor(shapeSignature=[-7, 4]),
    "signature_of_other_rank": _tensor(shapeSignature=[1]),
    "overflowing_dims": _tensor(shape=[1 << 30, 1 << 30, 1 << 30]),
    "many_dims": _tensor(shape=[1] * 4096),
    "unknown_dtype": _tensor(type=100),
    "weights_shorter": _weights_shorter,
    "more_scales_than_channels": _scales(64, 1),
    "scale_axis_outside": _scales(4, 7),
    "writes_constant": _writes_constant,
    "buffer_behind_the_end": _buffer_behind,
    "no_graph": _changed(_no_graph),
    "no_buffers": _changed(lambda it: it.model.__setattr__("buffers", [])),
    "signature_outside": _changed(_signature),
    "calls_itself": _called("CALL_ONCE", "CallOnceOptions", initSubgraphIndex=0),
    "calls_outside": _called("WHILE", "WhileOptions", condSubgraphIndex=3, bodySubgraphIndex=4),
    "calls_negative": _called("IF", "IfOptions", thenSubgraphIndex=-1, elseSubgraphIndex=-1),
}

UNSUPPORTED: dict[str, Callable[[], bytes]] = {
    "external_weights": _external,
    "unknown_op": _changed(lambda it: it.model.operatorCodes[0].__setattr__("builtinCode", 20000)),
    "other_version": _changed(lambda it: it.model.__setattr__("version", 2)),
}

# Sound as files, and refused when they are to run.
UNRUNNABLE: dict[str, Callable[[], bytes]] = {
    "custom_op": lambda: custom("Secret/Op").data(),
    "flex_op": lambda: custom("FlexConv2D").data(),
}

HOSTILE = {**CORRUPT, **INVALID, **UNSUPPORTED, **UNRUNNABLE}
