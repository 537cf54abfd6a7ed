"""Files made to harm whoever opens them; each maker gets the path of the canary and the port.

``FILES`` maps a name to (input, maker of bytes, names of the errors it may be refused with).
"""

from __future__ import annotations

import io
import pickle
import stat
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper

INVALID, CORRUPT, DATASET = "ModelInvalidError", "ModelCorruptError", "DatasetError"
UNSUPPORTED, MEMORY, TIMEOUT = "UnsupportedError", "ChildMemoryError", "ChildTimeoutError"
REFUSED = (INVALID, CORRUPT)

FILES: dict[str, tuple[str, object, tuple[str, ...]]] = {}


def _file(kind, *errors):
    def add(function):
        FILES[function.__name__] = (kind, function, errors)
        return function

    return add


model, dataset = (lambda *errors: _file("model", *errors)), (lambda: _file("dataset", DATASET))


def archive(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as file:
        warnings.simplefilter("ignore")
        for name, data, *mode in members:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.compress_type = compression
            info.external_attr = (mode[0] if mode else 0) << 16
            file.writestr(info, data)
    return buffer.getvalue()


def graph(nodes="y = Relu(x)", *, change=None):
    made = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 4] x) => (float[1, 4] y) {{ {nodes} }}"""
    )
    if change is not None:
        change(made)
    return made.SerializeToString()


def external(location, **entries):
    """Return a model whose weight lies at ``location``."""

    def change(made):
        tensor = made.graph.initializer.add(
            name="w", data_type=TensorProto.FLOAT, dims=[1, 4], data_location=TensorProto.EXTERNAL
        )
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=str(value))

    return graph("y = Add(x, w)", change=change)


# Archives.


@model(INVALID)
def zip_slip(canary, port):
    return archive([("m/net.onnx", graph()), ("m/../../../../written", b"x")])


@model(INVALID)
def zip_slip_of_the_only_member(canary, port):
    return archive([("../../written", b"x")])


@model(INVALID)
def zip_absolute(canary, port):
    return archive([("m/net.onnx", graph()), (f"{canary.parent}/written", b"x")])


@model(INVALID)
def zip_backslash(canary, port):
    return archive([("m/net.onnx", graph()), ("m\\..\\..\\written", b"x")])


@model(INVALID)
def zip_link_to_the_canary(canary, port):
    members = [("m/net.onnx", external("w.data")), ("m/w.data", str(canary), stat.S_IFLNK | 0o777)]
    return archive(members)


@model(INVALID)
def zip_link_and_write_through_it(canary, port):
    return archive([("m/x", str(canary.parent), stat.S_IFLNK | 0o777), ("m/x/written", b"x")])


@model(INVALID)
def zip_device(canary, port):
    return archive([("m/net.onnx", b"", stat.S_IFCHR | 0o666)])


@model(INVALID)
def zip_twice_the_same(canary, port):
    return archive([("m/net.onnx", graph()), ("m/net.onnx", external(str(canary)))])


@model(INVALID)
def zip_case_collision(canary, port):
    return archive([("m/net.onnx", graph()), ("m/NET.onnx", graph())])


@model(INVALID)
def zip_of_many_members(canary, port):
    return archive([(f"m/{index}", b"") for index in range(10_000)])


@model(INVALID)
def zip_of_a_million_members(canary, port):
    one = archive([("m/0", b"")], zipfile.ZIP_STORED)
    start, end = one.rindex(b"PK\x01\x02"), one.rindex(b"PK\x05\x06")
    entries = one[start:end] * 1_000_000
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(entries), start, 0)
    return one[:start] + entries + tail


def _deflated_zeros(count):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    crc, parts, block = 0, [], bytes(1 << 20)
    for _ in range(count >> 20):
        parts.append(packer.compress(block))
        crc = zlib.crc32(block, crc)
    return b"".join([*parts, packer.flush()]), crc


@model(INVALID, CORRUPT)
def zip_bomb_of_shared_bytes(canary, port):
    data, crc = _deflated_zeros(64 << 20)
    local = struct.pack(
        "<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 33, crc, len(data), 64 << 20, 4, 0
    )
    body = local + b"m/00" + data
    entries = b"".join(
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, len(data),
                    64 << 20, 4, 0, 0, 0, 0, 0, 0)
        + b"m/%02d" % index
        for index in range(99)
    )  # fmt: skip
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 99, 99, len(entries), len(body), 0)
    return body + entries + tail


@model(CORRUPT, INVALID)
def zip_that_declares_little(canary, port):
    data = bytearray(archive([("m/net.onnx", bytes(32 << 20))]))
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 10)
    return bytes(data)


@model(INVALID)
def zip_encrypted(canary, port):
    data = bytearray(archive([("m/net.onnx", graph())]))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@model(CORRUPT)
def zip_truncated(canary, port):
    return archive([("m/net.onnx", graph())])[:-30]


@model(INVALID)
def zip_of_two_models(canary, port):
    return archive([("m/a.onnx", graph()), ("m/b.onnx", graph())])


@model(INVALID)
def zip_of_zips(canary, port):
    return archive([("m/m.zip", archive([("m/net.onnx", graph())]))])


# External data.


@model(INVALID)
def external_data_absolute(canary, port):
    return external(str(canary))


@model(INVALID)
def external_data_above(canary, port):
    return external("../" * 12 + str(canary)[1:])


@model(INVALID)
def external_data_of_the_process(canary, port):
    return external("/proc/self/environ")


@model(INVALID)
def external_data_above_in_an_archive(canary, port):
    return archive([("m/net.onnx", external("../../spec.json", length=16))])


@model(INVALID)
def external_data_missing(canary, port):
    return external("w.data")


@model(INVALID)
def external_data_is_a_folder(canary, port):
    return archive([("m/net.onnx", external("w")), ("m/w/x", b"")])


@model(CORRUPT)
def external_data_behind_the_end(canary, port):
    members = [("m/net.onnx", external("w.data", offset=1 << 40, length=16)), ("m/w.data", b"x")]
    return archive(members)


@model(INVALID)
def external_data_negative(canary, port):
    return archive([("m/net.onnx", external("w.data", offset=-16)), ("m/w.data", bytes(64))])


# Graphs.


@model(*REFUSED)
def protobuf_nested_deeply(canary, port):
    data = b""
    for _ in range(20_000):
        length, prefix = len(data), bytearray(b"\x32")
        while length > 127:
            prefix.append(length & 127 | 128)
            length >>= 7
        data = bytes([*prefix, length]) + data
    return b"\x08\x08" + data


@model(*REFUSED)
def protobuf_cut_off(canary, port):
    return graph()[:-9]


@model(*REFUSED)
def protobuf_of_noise(canary, port):
    return b"\x08\x08" + np.random.default_rng(0).bytes(100_000)


@model(*REFUSED)
def weights_that_are_declared_only(canary, port):
    def change(made):
        made.graph.initializer.add(
            name="w", data_type=TensorProto.FLOAT, dims=[1 << 31, 1 << 31], raw_data=b"1234"
        )

    return graph("y = Add(x, w)", change=change)


@model(*REFUSED)
def weights_of_negative_size(canary, port):
    def change(made):
        made.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[-1, -4])

    return graph("y = Add(x, w)", change=change)


@model(*REFUSED)
def weights_of_an_unknown_dtype(canary, port):
    def change(made):
        made.graph.initializer.add(name="w", data_type=99, dims=[1], raw_data=b"1234")

    return graph("y = Add(x, w)", change=change)


@model(*REFUSED)
def graph_with_a_cycle(canary, port):
    def change(made):
        made.graph.node[0].input[0] = "b"

    return graph("a = Relu(x) b = Relu(a) y = Relu(b)", change=change)


@model(*REFUSED, UNSUPPORTED)
def graph_without_anything(canary, port):
    return onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(name="x")).SerializeToString()


@model(INVALID)
def functions_that_call_each_other(canary, port):
    def change(made):
        made.opset_import.add(domain="f", version=1)
        made.graph.node[0].CopyFrom(helper.make_node("A", ["x"], ["y"], domain="f"))
        opsets = [helper.make_opsetid("f", 1)]
        for name, other in (("A", "B"), ("B", "A")):
            node = helper.make_node(other, ["i"], ["o"], domain="f")
            made.functions.append(helper.make_function("f", name, ["i"], ["o"], [node], opsets))

    return graph(change=change)


@model(INVALID)
def functions_that_double(canary, port):
    """Thirty functions, each of them twice the one below: a thousand million nodes."""

    def change(made):
        made.opset_import.add(domain="f", version=1)
        made.graph.node[0].CopyFrom(helper.make_node("F29", ["x"], ["y"], domain="f"))
        opsets = [helper.make_opsetid("f", 1), helper.make_opsetid("", 17)]
        below = helper.make_node("Relu", ["i"], ["m"]), helper.make_node("Relu", ["m"], ["o"])
        for level in range(30):
            made.functions.append(
                helper.make_function("f", f"F{level}", ["i"], ["o"], below, opsets)
            )
            below = (
                helper.make_node(f"F{level}", ["i"], ["m"], domain="f"),
                helper.make_node(f"F{level}", ["m"], ["o"], domain="f"),
            )

    return graph(change=change)


# Pickles, which nothing of ours may read outside a sandbox.


class _Call:
    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


def calling_out(canary, port):
    return _Call(
        "import socket\n"
        f"text = open({str(canary)!r}).read()\n"
        f"open({str(canary.parent / 'written')!r}, 'w').write(text)\n"
        f"socket.create_connection(('127.0.0.1', {port}), 2)\n"
    )


@model(INVALID)
def pickled_module(canary, port):
    return pickle.dumps(calling_out(canary, port), protocol=2)


@model(INVALID)
def pickled_state(canary, port):
    return archive([("m/data.pkl", pickle.dumps(calling_out(canary, port))), ("m/version", b"3")])


# Datasets.


def _hdf5(fill):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("data/0")
        group.attrs.update({"name": "x", "batch_count": np.int64(1), "order": np.int64(0)})
        fill(group)
    return buffer.getvalue()


@dataset()
def hdf5_external_link(canary, port):
    def fill(group):
        group["batch_0"] = h5py.ExternalLink(str(canary), "/data/0/batch_0")

    return _hdf5(fill)


@dataset()
def hdf5_external_storage(canary, port):
    def fill(group):
        group.create_dataset("batch_0", (1, 4), "f4", external=[(str(canary), 0, 16)])

    return _hdf5(fill)


@dataset()
def hdf5_virtual(canary, port):
    def fill(group):
        layout = h5py.VirtualLayout((1, 4), "f4")
        layout[:] = h5py.VirtualSource(str(canary), "x", (1, 4))
        group.create_virtual_dataset("batch_0", layout)

    return _hdf5(fill)


@dataset()
def hdf5_soft_link_loop(canary, port):
    def fill(group):
        group["batch_0"] = h5py.SoftLink("/data/0/batch_1")
        group["batch_1"] = h5py.SoftLink("/data/0/batch_0")

    return _hdf5(fill)


@dataset()
def hdf5_shape_bomb(canary, port):
    def fill(group):
        group.create_dataset("batch_0", (1 << 30, 1 << 20), "f4", chunks=(1024, 1024))

    return _hdf5(fill)


@dataset()
def hdf5_text(canary, port):
    def fill(group):
        group.create_dataset("batch_0", data=["text"], dtype=h5py.string_dtype())

    return _hdf5(fill)


@dataset()
def hdf5_count_bomb(canary, port):
    def fill(group):
        group.create_dataset("batch_0", data=np.zeros((1, 4), "f4"))
        group.attrs["batch_count"] = np.int64(1 << 62)

    return _hdf5(fill)


@dataset()
def hdf5_group_in_place_of_a_sample(canary, port):
    return _hdf5(lambda group: group.create_group("batch_0"))


@dataset()
def hdf5_cut_off(canary, port):
    def fill(group):
        group.create_dataset("batch_0", data=np.zeros((100, 100), "f4"))

    data = _hdf5(fill)
    return data[: len(data) // 2]


@dataset()
def hdf5_of_noise(canary, port):
    return b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(10_000)


def _npy(header, data=b""):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@dataset()
def npz_of_a_pickle(canary, port):
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
    return archive([("x.npy", _npy(header, pickle.dumps(calling_out(canary, port))))])


@dataset()
def npz_shape_bomb(canary, port):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4)}"
    return archive([("x.npy", _npy(header))])


@dataset()
def npz_whose_header_is_code(canary, port):
    return archive([("x.npy", _npy("__import__('os').system('id')"))])


@dataset()
def npz_that_leaves_its_folder(canary, port):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4)}"
    return archive([("../../written.npy", _npy(header, bytes(16))), ("x.npy", b"no array")])


@dataset()
def model_as_dataset(canary, port):
    return graph()


def torchscript(canary: Path, port: int) -> bytes:
    """TorchScript whose constants, a pickle, call out when they are read."""
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 4))
        torch.jit.save(traced, buffer)
    members = []
    with zipfile.ZipFile(buffer) as file:
        for name in file.namelist():
            data = file.read(name)
            if name.endswith(("data.pkl", "constants.pkl")):
                data = pickle.dumps(calling_out(canary, port), protocol=2)
            members.append((name, data))
    return archive(members, zipfile.ZIP_STORED)


# Those of this file, whoever adds to FILES later.
FIRST = tuple(FILES)
