"""The reader: what it reads is what was written, and what is no model is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from qdq.base.errors import ModelCorruptError
from qdq.target.tflite.verify import read_tflite
from qdq.target.tflite.verify.reference import REFERENCES
from qdq.target.tflite.verify.tolerances import tolerance_of, tolerance_table


def conv(kit: SimpleNamespace, weight_dtype: str = "int8") -> bytes:
    data = np.arange(-8, 8, dtype=np.int8).reshape(4, 2, 2, 1)
    stored = data.reshape(-1)
    if weight_dtype == "int4":
        stored = (stored[0::2].view(np.uint8) & 15) | (stored[1::2].view(np.uint8) << 4)
    tensors = [
        kit.Tensor("x", "int8", (1, 5, 5, 1), 0.5, -3),
        kit.Tensor("w", weight_dtype, data.shape, [0.1, 0.2, 0.3, 0.4], 0, 0, stored),
        kit.Tensor("y", "int8", (1, 4, 4, 4), 0.25, 7),
    ]
    options = {"strideH": 1, "strideW": 1, "padding": 1, "version": 5}
    return kit.Model(
        tensors, [("CONV_2D", ["x", "w", ""], ["y"], options)], ["x"], ["y"]
    ).to_bytes()


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_what_was_written_is_read(kit: SimpleNamespace, dtype: str) -> None:
    model = read_tflite(conv(kit, dtype))
    x, w, y = model.tensors
    assert (model.version, model.inputs, model.outputs) == (3, (0,), (2,))
    assert (model.input_names, model.output_names) == (("x",), ("y",))
    assert (x.dtype, x.shape, x.scale.tolist(), x.zero_point.tolist()) == (
        "int8",
        (1, 5, 5, 1),
        [0.5],
        [-3],
    )
    assert (w.dtype, w.axis, x.data, y.data) == (dtype, 0, None, None)
    np.testing.assert_array_equal(w.scale, np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    np.testing.assert_array_equal(w.data, np.arange(-8, 8).reshape(4, 2, 2, 1))
    (op,) = model.ops
    assert (op.name, op.version, op.inputs, op.outputs) == ("CONV_2D", 5, (0, 1, -1), (2,))
    assert op.options["padding"] == 1
    assert op.options["strideH"] == 1


def test_signature_names_come_first(kit: SimpleNamespace) -> None:
    model = schema.ModelT.InitFromPackedBuf(conv(kit), 0)
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = b"image", 0
    signature = schema.SignatureDefT()
    signature.inputs, signature.outputs, signature.subgraphIndex = [entry], [], 0
    model.signatureDefs = [signature]
    found = read_tflite(kit.packed(model))
    assert (found.input_names, found.output_names) == (("image",), ("y",))


def test_buffers_behind_the_flatbuffer(kit: SimpleNamespace) -> None:
    model = schema.ModelT.InitFromPackedBuf(conv(kit), 0)
    buffer = next(b for b in model.buffers if b.data is not None)
    raw, buffer.data = bytes(buffer.data), None
    buffer.offset, buffer.size = 1 << 20, len(raw)
    data = kit.packed(model).ljust(1 << 20, b"\0") + raw
    np.testing.assert_array_equal(
        read_tflite(data).tensors[1].data, np.arange(-8, 8).reshape(4, 2, 2, 1)
    )


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x08\0\0\0ONNX", b"\x18\0\0\0TFL3"])
def test_what_is_no_model(data: bytes) -> None:
    with pytest.raises(ModelCorruptError):
        read_tflite(data)


@given(share=st.floats(0, 0.99))
def test_a_truncated_model_is_refused_or_read(kit: SimpleNamespace, share: float) -> None:
    data = conv(kit)
    try:
        read_tflite(data[: int(share * len(data))])
    except ModelCorruptError as error:
        assert "TFL" in str(error)


def test_every_row_of_the_table_has_a_reference_and_a_reason() -> None:
    table = tolerance_table()
    assert set(table["exact"]["ops"]) <= REFERENCES.keys()
    assert table["ops"].keys() <= REFERENCES.keys()
    for row in (r for rows in table["ops"].values() for r in rows.values()):
        assert row.keys() <= {"limit", "builtin", "per_element", "why"}
        assert len(row["why"]) > 40


@pytest.mark.parametrize(
    ("op", "dtype", "delegated", "length", "limit"),
    [
        ("CONV_2D", "int8", True, 1, 1),
        ("CONV_2D", "float32", True, 1, 1e-5),
        ("RESHAPE", "int16", False, 1, 0),
        ("RESHAPE", "float32", False, 1, 1e-5),
        ("SOFTMAX", "int16", False, 10, 20),
        ("SOFTMAX", "int8", False, 10, 1),
        ("RESIZE_BILINEAR", "int8", True, 1, 1),
        ("RESIZE_BILINEAR", "int8", False, 1, None),
    ],
)
def test_tolerance(op: str, dtype: str, delegated: bool, length: int, limit: float | None) -> None:
    assert tolerance_of(op, dtype, delegated=delegated, length=length).limit == limit
