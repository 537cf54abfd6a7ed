"""More hostile models, by the rules of hostile_files.py; importing this adds them to its FILES.

ACCEPTED stands for a stage that ends well: some of these are strange and no more than that.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import hostile_files as base
from hostile_files import CORRUPT, INVALID, MEMORY, REFUSED, TIMEOUT, UNSUPPORTED, archive, graph
from onnx import TensorProto, helper

ACCEPTED, DISK = "accepted", "OutputError"
model = base.model


def _varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _field(number, data):
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


# Containers that are no models.


@model(*REFUSED, UNSUPPORTED)
def tar_that_leaves_its_folder(canary, port):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name in ("m/net.onnx", "../../written", str(canary.parent / "written")):
            info = tarfile.TarInfo(name)
            info.size = len(graph())
            file.addfile(info, io.BytesIO(graph()))
    return buffer.getvalue()


@model(*REFUSED, UNSUPPORTED)
def gzip_bomb(canary, port):
    return gzip.compress(bytes(256 << 20), 9)


@model(INVALID, CORRUPT, DISK)
def zip_bomb_of_one_file(canary, port):
    return archive([("m/net.onnx", graph()), ("m/w.data", bytes(512 << 20))])


@model(*REFUSED, UNSUPPORTED, ACCEPTED)
def zip_behind_a_model(canary, port):
    """Read from its end an archive, from its start a model."""
    return graph() + archive([("m/net.onnx", base.external(str(canary)))])


@model(INVALID)
def zip_name_with_a_zero_byte(canary, port):
    return archive([("m/net.onnx\0../../written", graph())])


@model(INVALID)
def zip_of_deep_folders(canary, port):
    return archive([("m/" + "a/" * 2000 + "net.onnx", graph())])


@model(INVALID)
def zip_names_equal_but_for_accents(canary, port):
    return archive([("m/e\u0301.onnx", graph()), ("m/\u00e9.onnx", graph())])


@model(INVALID)
def zip_file_that_is_a_folder_too(canary, port):
    return archive([("m/net.onnx", graph()), ("m/net.onnx/written", b"x")])


@model(INVALID)
def zip_packed_with_lzma(canary, port):
    return archive([("m/net.onnx", bytes(64 << 20))], zipfile.ZIP_LZMA)


# Pickles and torch.


@model(INVALID, CORRUPT)
def pickle_in_an_array_file(canary, port):
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
    return base._npy(header, pickle.dumps(base.calling_out(canary, port)))


def _program(members):
    return archive([("m/archive_format", b"pt2"), ("m/version", b"1"), *members], 0)


@model(*REFUSED, UNSUPPORTED)
def exported_program_of_pickles(canary, port):
    code = pickle.dumps(base.calling_out(canary, port), protocol=2)
    weights = archive([("d/data.pkl", code), ("d/version", b"3")], 0)
    return _program(
        [
            ("m/models/model.json", b'{"graph_module": {}}'),
            ("m/data/weights/model.pt", weights),
            ("m/data/constants/model.pt", weights),
            ("m/data/sample_inputs/model.pt", weights),
        ]
    )


@model(*REFUSED, UNSUPPORTED)
def exported_program_of_pickles_in_the_old_layout(canary, port):
    code = pickle.dumps(base.calling_out(canary, port), protocol=2)
    weights = archive([("d/data.pkl", code), ("d/version", b"3")], 0)
    return archive(
        [
            ("serialized_exported_program.json", b'{"graph_module": {}}'),
            ("serialized_state_dict.pt", weights),
            ("serialized_state_dict.json", weights),
            ("serialized_example_inputs.pt", weights),
            ("version", b"8.1"),
        ],
        0,
    )


@model(*REFUSED, UNSUPPORTED)
def exported_program_nested_deeply(canary, port):
    return _program([("m/models/model.json", b"[" * 1_000_000)])


@model(*REFUSED, UNSUPPORTED)
def exported_program_of_a_number_bomb(canary, port):
    return _program([("m/models/model.json", b'{"schema_version": ' + b"9" * 5_000_000 + b"}")])


@model(*REFUSED, UNSUPPORTED, MEMORY)
def exported_program_that_unpacks_to_much(canary, port):
    members = [("m/archive_format", b"pt2"), ("m/models/model.json", b" " * (512 << 20))]
    return archive(members)


@model(*REFUSED)
def archive_of_torch_with_a_million_members(canary, port):
    one = archive([("m/constants.pkl", b"")], zipfile.ZIP_STORED)
    start, end = one.rindex(b"PK\x01\x02"), one.rindex(b"PK\x05\x06")
    entries = one[start:end] * 1_000_000
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(entries), start, 0)
    return one[:start] + entries + tail


# Protobuf.


@model(*REFUSED, MEMORY)
def protobuf_of_millions_of_nodes(canary, port):
    body = _field(7, b"\x0a\x00" * 5_000_000 + _field(2, b"g"))
    return b"\x08\x08" + body + _field(8, b"\x0a\x00\x10\x11")


@model(*REFUSED)
def protobuf_length_beyond_the_end(canary, port):
    return b"\x08\x08\x3a" + _varint(1 << 40) + b"x" * 100


@model(*REFUSED)
def protobuf_number_without_end(canary, port):
    return b"\x08" + b"\xff" * 1000


@model(*REFUSED)
def protobuf_of_open_groups(canary, port):
    return b"\x08\x08" + b"\xa3\x06" * 100_000


@model(*REFUSED)
def names_that_are_no_text(canary, port):
    return graph("name = Relu(x) y = Relu(name)").replace(b"name", b"\xff\xfe\x80\xc0")


@model(ACCEPTED, *REFUSED, UNSUPPORTED)
def names_that_are_paths(canary, port):
    def change(made):
        for node in made.graph.node:
            node.name = f"{canary.parent}/written"
        made.graph.name = "../../../written"
        made.producer_name = "\x1b]0;owned\x07\u202e"

    return graph("a = Relu(x) y = Neg(a)", change=change)


@model(ACCEPTED, *REFUSED)
def a_name_of_ten_megabytes(canary, port):
    def change(made):
        made.graph.node[0].name = "n" * (10 << 20)

    return graph(change=change)


@model(*REFUSED, UNSUPPORTED)
def operator_set_of_the_far_future(canary, port):
    def change(made):
        made.opset_import[0].version = (1 << 63) - 1

    return graph(change=change)


# Tensors.


def _weight(**fields):
    def change(made):
        made.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, **fields)

    return graph("y = Add(x, w)", change=change)


@model(*REFUSED)
def weights_whose_size_overflows(canary, port):
    return _weight(dims=[1 << 62, 4], raw_data=b"")


@model(*REFUSED)
def weights_of_a_thousand_dimensions(canary, port):
    return _weight(dims=[1] * 1000, raw_data=bytes(4))


@model(*REFUSED)
def weights_of_nothing_and_a_huge_shape(canary, port):
    return _weight(dims=[0, 1 << 62], raw_data=b"")


@model(*REFUSED)
def weights_of_fewer_values_than_told(canary, port):
    return _weight(dims=[1, 1 << 20], float_data=[1.0, 2.0])


@model(*REFUSED, UNSUPPORTED)
def sparse_weights_that_point_outside(canary, port):
    def change(made):
        values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
        indices = helper.make_tensor("i", TensorProto.INT64, [1], [1 << 40])
        made.graph.sparse_initializer.append(
            helper.make_sparse_tensor(values, indices, [1 << 31, 1 << 31])
        )

    return graph("y = Add(x, w)", change=change)


@model(*REFUSED, UNSUPPORTED)
def sparse_constant_of_a_huge_shape(canary, port):
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(values, indices, [1 << 31, 1 << 31])

    def change(made):
        node = helper.make_node("Constant", [], ["w"], sparse_value=sparse)
        made.graph.node.insert(0, node)

    return graph("y = Add(x, w)", change=change)


@model(*REFUSED)
def external_data_of_a_constant(canary, port):
    tensor = TensorProto(
        data_type=TensorProto.FLOAT, dims=[1, 4], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=str(canary))

    def change(made):
        made.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))

    return graph("y = Add(x, w)", change=change)


@model(*REFUSED, UNSUPPORTED)
def external_data_of_a_function(canary, port):
    tensor = TensorProto(
        data_type=TensorProto.FLOAT, dims=[1, 4], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=str(canary))

    def change(made):
        made.opset_import.add(domain="f", version=1)
        nodes = [
            helper.make_node("Constant", [], ["w"], value=tensor),
            helper.make_node("Add", ["i", "w"], ["o"]),
        ]
        opsets = [helper.make_opsetid("", 17)]
        made.functions.append(helper.make_function("f", "A", ["i"], ["o"], nodes, opsets))
        made.graph.node[0].CopyFrom(helper.make_node("A", ["x"], ["y"], domain="f"))

    return graph(change=change)


@model(INVALID)
def external_data_of_a_device(canary, port):
    return base.external("/dev/zero", offset=0, length=16)


@model(INVALID, CORRUPT)
def external_data_with_a_zero_byte(canary, port):
    return archive([("m/net.onnx", base.external("w.data\0.txt")), ("m/w.data", bytes(16))])


@model(INVALID, CORRUPT)
def external_data_of_a_length_in_words(canary, port):
    members = [("m/net.onnx", base.external("w.data", length="all", offset="1e3")),
               ("m/w.data", bytes(16))]  # fmt: skip
    return archive(members)


# Graphs whose meaning is large.


@model(*REFUSED, UNSUPPORTED)
def functions_in_a_long_chain(canary, port):
    def change(made):
        made.opset_import.add(domain="f", version=1)
        made.graph.node[0].CopyFrom(helper.make_node("F2999", ["x"], ["y"], domain="f"))
        opsets = [helper.make_opsetid("f", 1), helper.make_opsetid("", 17)]
        below = helper.make_node("Relu", ["i"], ["o"])
        for level in range(3000):
            made.functions.append(
                helper.make_function("f", f"F{level}", ["i"], ["o"], [below], opsets)
            )
            below = helper.make_node(f"F{level}", ["i"], ["o"], domain="f")

    return graph(change=change)


@model(*REFUSED, UNSUPPORTED)
def graphs_in_graphs(canary, port):
    """Three hundred branches, each in the one before."""
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1, 4])
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["o"])], "g", [], [output])
    body = inner.SerializeToString()
    for _ in range(300):
        attribute = _field(1, b"then_branch") + _field(6, body) + b"\xa0\x01\x05"
        node = _field(1, b"c") + _field(2, b"o") + _field(4, b"If") + _field(5, attribute)
        body = _field(1, node) + _field(2, b"g") + _field(12, output.SerializeToString())
    return b"\x08\x08" + _field(7, body) + _field(8, b"\x0a\x00\x10\x11")


BOMB = (ACCEPTED, *REFUSED, UNSUPPORTED, MEMORY)


@model(*BOMB)
def constant_of_a_huge_shape(canary, port):
    return graph(
        "s = Constant <value = int64[2] {1099511627776, 4}> () "
        "c = ConstantOfShape(s) m = ReduceMax <keepdims = 0> (c) y = Add(x, m)"
    )


@model(*BOMB)
def tiles_of_a_constant(canary, port):
    return graph(
        "t = Constant <value = float[1,1] {1}> () "
        "r = Constant <value = int64[2] {1048576, 1048576}> () "
        "c = Tile(t, r) m = ReduceMax <keepdims = 0> (c) y = Add(x, m)"
    )


@model(*BOMB)
def a_range_without_end(canary, port):
    return graph(
        "a = Constant <value = int64 {0}> () b = Constant <value = int64 {1099511627776}> () "
        "d = Constant <value = int64 {1}> () r = Range(a, b, d) f = Cast <to = 1> (r) "
        "m = ReduceMax <keepdims = 0> (f) y = Add(x, m)"
    )


@model(*BOMB, TIMEOUT)
def a_loop_without_end(canary, port):
    return graph(
        "n = Constant <value = int64 {9223372036854775807}> () "
        "t = Constant <value = bool {1}> () z = Constant <value = float[1,4] {0, 0, 0, 0}> () "
        "l = Loop(n, t, z) <body = b (int64 i, bool c, float[1,4] v) => "
        "(bool k, float[1,4] w) { k = Identity(c) w = Sin(v) }> y = Add(x, l)"
    )
