"""Hostile encodings, and more hostile datasets; importing this adds them to hostile_files.FILES."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib

import h5py
import hostile_files as base
import numpy as np
from hostile_files import REFUSED, UNSUPPORTED, archive, dataset, graph, model
from hostile_more import tar_that_leaves_its_folder

# AIMET encodings.


def _aimet(encodings):
    return archive([("m/net.onnx", graph()), ("m/net.encodings", encodings)])


@model(*REFUSED)
def encodings_nested_deeply(canary, port):
    return _aimet(b'{"version": ' + b"[" * 1_000_000)


@model(*REFUSED)
def encodings_with_a_number_bomb(canary, port):
    return _aimet(b'{"version": "1.0.0", "activation_encodings": ' + b"9" * 5_000_000 + b"}")


@model(*REFUSED)
def encodings_that_are_a_pickle(canary, port):
    return _aimet(pickle.dumps(base.calling_out(canary, port)))


@model(*REFUSED, UNSUPPORTED)
def encodings_of_absurd_values(canary, port):
    row = {"bitwidth": 1 << 40, "min": -1e308, "max": 1e308, "offset": 1 << 70, "scale": -1.0,
           "is_symmetric": "True", "dtype": "int"}  # fmt: skip
    told = {"version": "0.6.1", "activation_encodings": {"y": [row] * 3}, "param_encodings": {}}
    return _aimet(json.dumps(told).encode())


@model(*REFUSED, UNSUPPORTED)
def encodings_of_many_rows(canary, port):
    rows = {f"t{n}": [{"bitwidth": 8, "scale": 1.0, "offset": 0}] for n in range(300_000)}
    told = {"version": "0.6.1", "activation_encodings": rows, "param_encodings": {"w": []}}
    return _aimet(json.dumps(told).encode())


# HDF5.


@dataset()
def hdf5_whose_input_is_an_external_link(canary, port):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("data")["0"] = h5py.ExternalLink(str(canary), "/")
    return buffer.getvalue()


@dataset()
def hdf5_that_holds_itself(canary, port):
    def fill(group):
        group["batch_0"] = group.file["/"]

    return base._hdf5(fill)


@dataset()
def hdf5_external_storage_above(canary, port):
    def fill(group):
        where = "../" * 12 + str(canary)[1:]
        group.create_dataset("batch_0", (1, 4), "f4", external=[(where, 0, 16)])

    return base._hdf5(fill)


@dataset()
def hdf5_virtual_of_many_files(canary, port):
    def fill(group):
        layout = h5py.VirtualLayout((4, 4), "f4")
        for row in range(4):
            source = h5py.VirtualSource(f"{canary.parent}/canary-{row}", "x", (1, 4))
            layout[row : row + 1] = source
        group.create_virtual_dataset("batch_0", layout)

    return base._hdf5(fill)


@dataset()
def hdf5_soft_link_to_nothing(canary, port):
    def fill(group):
        group["batch_0"] = h5py.SoftLink("/nowhere")

    return base._hdf5(fill)


@dataset()
def hdf5_of_references(canary, port):
    def fill(group):
        group.create_dataset("batch_0", (1, 4), h5py.ref_dtype)

    return base._hdf5(fill)


@dataset()
def hdf5_of_records(canary, port):
    def fill(group):
        group.create_dataset("batch_0", (1,), np.dtype([("a", "f4", (1 << 20,)), ("b", "V4096")]))

    return base._hdf5(fill)


@dataset()
def hdf5_order_twice(canary, port):
    def fill(group):
        group.create_dataset("batch_0", data=np.zeros((1, 4), "f4"))
        group.file.copy("data/0", "data/1")

    return base._hdf5(fill)


@dataset()
def hdf5_count_below_zero(canary, port):
    def fill(group):
        group.create_dataset("batch_0", data=np.zeros((1, 4), "f4"))
        group.attrs["batch_count"] = np.int64(-1)

    return base._hdf5(fill)


@dataset()
def hdf5_name_that_is_no_text(canary, port):
    def fill(group):
        group.create_dataset("batch_0", data=np.zeros((1, 4), "f4"))
        del group.attrs["name"]
        group.attrs["name"] = np.zeros((64, 64))

    return base._hdf5(fill)


@dataset()
def hdf5_with_a_filter_of_its_own(canary, port):
    """A number of no filter: HDF5 would look for a library to load."""

    def fill(group):
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((1, 4))
        made.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, (1,))
        space, kind = h5py.h5s.create_simple((1, 4)), h5py.h5t.IEEE_F32LE
        found = h5py.h5d.create(group.id, b"batch_0", kind, space, made)
        found.write_direct_chunk((0, 0), bytes(16), 0)

    return base._hdf5(fill)


# numpy.


@dataset()
def npy_header_of_parentheses(canary, port):
    text = b"(" * 60_000 + b"\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    return archive([("x.npy", head)])


@dataset()
def npy_header_of_four_gigabytes(canary, port):
    head = b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF)
    return archive([("x.npy", head + b"{" * 1000)])


@dataset()
def npy_shape_below_zero(canary, port):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -4)}"
    return archive([("x.npy", base._npy(header, bytes(64)))])


@dataset()
def npy_of_huge_items(canary, port):
    header = "{'descr': '|S2147483647', 'fortran_order': False, 'shape': (4,)}"
    return archive([("x.npy", base._npy(header, bytes(64)))])


@dataset()
def npy_of_objects_in_records(canary, port):
    header = "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,)}"
    code = pickle.dumps(base.calling_out(canary, port))
    return archive([("x.npy", base._npy(header, code))])


@dataset()
def npz_of_a_million_members(canary, port):
    one = archive([("x.npy", b"")], zipfile.ZIP_STORED)
    start, end = one.rindex(b"PK\x01\x02"), one.rindex(b"PK\x05\x06")
    entries = one[start:end] * 1_000_000
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, len(entries), start, 0)
    return one[:start] + entries + tail


@dataset()
def npz_that_unpacks_to_less(canary, port):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 4)}"
    return archive([("x.npy", base._npy(header, bytes(64)))])


@dataset()
def npz_of_damaged_deflate(canary, port):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1024, 4)}"
    data = bytearray(archive([("x.npy", base._npy(header, zlib.compress(bytes(64)) * 256))]))
    data[60:90] = b"\xff" * 30
    return bytes(data)


@dataset()
def gzip_as_dataset(canary, port):
    return gzip.compress(bytes(64 << 20), 9)


@dataset()
def tar_as_dataset(canary, port):
    return tar_that_leaves_its_folder(canary, port)


@dataset()
def pickle_as_dataset(canary, port):
    return pickle.dumps(base.calling_out(canary, port))
