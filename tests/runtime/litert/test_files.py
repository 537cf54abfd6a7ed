"""Reading ``.tflite`` files: what they hold, and that nothing of a hostile one is believed."""

import contextlib
import random
import struct
import time

import pytest
from ai_edge_litert import schema_py_generated as schema

from litert_files import models
from litert_files.hostile import CORRUPT, INVALID, UNRUNNABLE, UNSUPPORTED
from qdq.base.errors import ModelCorruptError, ModelInvalidError, QdqError, UnsupportedError
from qdq.runtime.litert.flatbuffer import tflite_schema
from qdq.runtime.litert.model_file import is_tflite, parse_tflite, read_tflite
from qdq.runtime.litert.sources import op_sources, read_provenance

_SECONDS = 20


def test_contents(tmp_path):
    file, weights = models.conv()
    found = read_tflite(file.save(tmp_path / "m"))
    assert (found.version, found.description) == (3, "test")
    graph = found.main
    assert [op.op_type for op in graph.ops] == ["CONV_2D", "MEAN", "RESHAPE", "FULLY_CONNECTED"]
    assert not any(op.custom for op in graph.ops)
    names = {tensor.name: tensor for tensor in graph.tensors}
    assert names["w"].constant and names["w"].nbytes == weights["w"].nbytes
    assert names["image"].shape == (1, 16, 16, 3) and not names["image"].constant
    assert found.edge_names() == ("image",) and found.edge_names(outputs=True) == ("logits",)


def test_encodings():
    tensors = {it.name: it for it in parse_tflite(models.quantized_conv().data()).main.tensors}
    image, weight = tensors["image"], tensors["w"]
    assert (image.dtype, image.zero_point) == ("int8", -3)
    assert image.scale == pytest.approx(0.1)
    # One encoding for each channel has no single scale to tell.
    assert (weight.scale, weight.zero_point, weight.scales) == (None, None, 3)


def test_open_dimensions():
    left = parse_tflite(models.add(dynamic=True).data()).main.tensors[0]
    assert (left.shape, left.stored_shape) == ((None, 4), (1, 4))


@pytest.mark.parametrize(("names", "expected"), [(True, "left"), (False, "l:0")])
def test_names_of_the_signature_come_first(names, expected):
    assert parse_tflite(models.add(names=names).data()).edge_names()[0] == expected


def test_names_that_come_twice_are_told_apart():
    file = models.add(names=False)
    file.graph.tensors[1].name = file.graph.tensors[0].name
    assert parse_tflite(file.data()).edge_names() == ("l:0", "l:0_1")


def test_is_tflite(tmp_path):
    models.add().save(tmp_path / "yes")
    (tmp_path / "no").write_bytes(b"TFL3 is not at the start")
    (tmp_path / "short").write_bytes(b"TFL")
    assert is_tflite(tmp_path / "yes")
    assert not any(is_tflite(tmp_path / name) for name in ("no", "short", "absent", "."))


def test_provenance():
    file, _ = models.conv()
    assert read_provenance(parse_tflite(file.data())) == tuple(map(tuple, models.PROVENANCE))
    assert op_sources(parse_tflite(file.data()))[0] == "conv, relu"
    foreign, _ = models.conv(provenance=False)
    assert op_sources(parse_tflite(foreign.data())) == ("relu_out", "mean_out", "row", "logits")


@pytest.mark.parametrize("text", [b"", b"{", b"[[1]]", b'["a"]', b"[" * 100_000, b"null"])
def test_provenance_that_does_not_fit_is_not_taken(text):
    file, _ = models.conv(provenance=False)
    file.metadata("qdq.provenance", text)
    assert read_provenance(parse_tflite(file.data())) is None


def test_the_schema_is_that_of_the_package():
    table = tflite_schema()
    for name in ("TensorType", "BuiltinOperator"):
        kind = getattr(schema, name)
        known = {key: value for key, value in vars(kind).items() if isinstance(value, int)}
        assert {value: index for index, value in enumerate(table.enums[name])} == known
    for name in ("BuiltinOptions", "BuiltinOptions2", "QuantizationDetails"):
        kind = getattr(schema, name)
        known = {key: value for key, value in vars(kind).items() if isinstance(value, int)}
        assert {value: index for index, value in enumerate(table.unions[name])} == known
    assert table.slots["Tensor", "quantization"] == 12
    for kind, fields in table.tables.items():
        assert hasattr(schema, kind)
        for field in fields:
            form = str(field[1]) if field else "4"
            inner = form.strip("[]").removeprefix("union ")
            assert inner.isdigit() or inner == "string" or inner in {*table.tables, *table.unions}


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt(name):
    data, begun = CORRUPT[name](), time.monotonic()
    with pytest.raises(ModelCorruptError):
        parse_tflite(data)
    assert time.monotonic() - begun < _SECONDS


@pytest.mark.parametrize("name", INVALID)
def test_invalid(name):
    with pytest.raises(ModelInvalidError):
        parse_tflite(INVALID[name]())


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported(name):
    with pytest.raises(UnsupportedError):
        parse_tflite(UNSUPPORTED[name]())


@pytest.mark.parametrize("name", UNRUNNABLE)
def test_custom_ops_are_described(name):
    assert parse_tflite(UNRUNNABLE[name]()).main.ops[0].custom


@pytest.mark.parametrize("seed", range(40))
def test_any_change_is_read_or_refused(seed):
    """Nothing but an error of the tree, whatever the bytes are."""
    rng = random.Random(seed)
    data = bytearray(models.conv()[0].data() if seed % 2 else models.quantized_conv().data())
    for _ in range(rng.choice((1, 2, 8, 64))):
        place = rng.randrange(8, len(data) - 4)
        value = rng.choice((0, 1, 0xFF, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, rng.getrandbits(32)))
        struct.pack_into("<I", data, place, value)
    with contextlib.suppress(QdqError):
        parse_tflite(bytes(data[: rng.choice((len(data), rng.randrange(len(data))))]))
