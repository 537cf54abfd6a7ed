"""All options of the interface at once, on a net with two inputs and two outputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import qdq
from qdq.target.tflite.verify import read_tflite

Array = np.ndarray[Any, Any]

# The index is 64 bits wide, in and out, and so is what is computed of it.
TEXT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1,2,4,3] image, int64[1,2,4,3] index) => (int64[1,2,4,3] next, float[1,2,4,3] score) {
  q = QuantizeLinear (image, s, z)
  d = DequantizeLinear (q, s, z)
  next = Add (index, one)
  f = Cast <to = 1> (next)
  fq = QuantizeLinear (f, t, z)
  fd = DequantizeLinear (fq, t, z)
  sum = Add (d, fd)
  r = QuantizeLinear (sum, u, v)
  score = DequantizeLinear (r, u, v)
}"""
ENCODINGS = {"image": (0.03, 3), "score": (0.11, -20)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(TEXT)
    constants = {
        "s": np.float32(0.03),
        "t": np.float32(0.08),
        "u": np.float32(0.11),
        "z": np.int8(3),
        "v": np.int8(-20),
        "one": np.asarray([1], np.int64),
    }
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()
    )
    onnx.save(proto, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def sample() -> dict[str, Array]:
    random = np.random.default_rng(4)
    steps = random.integers(-128, 128, (1, 2, 4, 3)) - 3
    return {
        "image": (steps * np.float32(0.03)).astype(np.float32),
        "index": random.integers(-9, 9, (1, 2, 4, 3)),
    }


def _integers(name: str, array: Array, spec: Any) -> Array:
    if spec.scale is None:
        return array.astype(spec.dtype)
    assert name in ENCODINGS
    return (np.rint(array / np.float32(spec.scale)) + spec.zero_point).astype(spec.dtype)


def _check(
    model: Path, options: str, sample: dict[str, Array], last: tuple[str, ...]
) -> dict[str, Any]:
    """Compile, run in the file's own form, compare with ONNX Runtime; return specs by name."""
    target = model.with_suffix(".tflite")
    done = qdq.compile(model, target, options=f"--target_runtime tflite {options}")
    wanted = qdq.run(model, sample).outputs
    given = {}
    for spec in done.input_spec:
        array = sample[spec.name]
        moved = np.moveaxis(array, 1, -1) if spec.name in last else array
        given[spec.name] = np.ascontiguousarray(_integers(spec.name, moved, spec))
        assert given[spec.name].shape == spec.shape
    outputs = qdq.run(target, given).outputs
    assert wanted is not None and outputs is not None
    for spec, reference in zip(done.output_spec, wanted.values(), strict=True):
        found = outputs[spec.name][0]
        assert found.dtype == spec.dtype and found.shape == spec.shape
        moved = np.moveaxis(found, -1, 1) if spec.name in last else found
        real = moved.astype(np.float64)
        if spec.scale is not None:
            real = (real - spec.zero_point) * np.float32(spec.scale)
        # One step of the output, where two roundings fall apart.
        limit = 0.1101 if reference[0].dtype.kind == "f" else 0
        assert np.abs(real - reference[0]).max() <= limit
    assert qdq.inspect(target).input_spec == done.input_spec
    assert qdq.inspect(target).output_spec == done.output_spec
    return {spec.name: spec for spec in (*done.input_spec, *done.output_spec)}


@pytest.mark.parametrize(("io_type", "shift"), [("", 0), ("--quantize_io_type uint8", 128)])
def test_all_at_once(io_type: str, shift: int, model: Path, sample: dict[str, Array]) -> None:
    last = ("image", "later", "points")
    options = (
        f"--quantize_io {io_type} --truncate_64bit_io --truncate_64bit_tensors "
        "--output_names later,points --force_channel_last_input image "
        "--force_channel_last_output later,points"
    )

    specs = _check(model, options, sample, last)

    assert list(specs) == ["image", "index", "later", "points"]
    assert {n: s.shape for n, s in specs.items()} == {
        n: (1, 4, 3, 2) if n in last else (1, 2, 4, 3) for n in specs
    }
    eight = "uint8" if shift else "int8"
    assert [s.dtype for s in specs.values()] == [eight, "int32", "int32", eight]
    for name, (scale, zero) in (("image", ENCODINGS["image"]), ("points", ENCODINGS["score"])):
        assert specs[name].scale == float(np.float32(scale))
        assert specs[name].zero_point == zero + shift
    assert specs["index"].scale is None and specs["later"].scale is None


@pytest.mark.parametrize(
    ("options", "dtypes"),
    [
        ("", ["float32", "int64", "int64", "float32"]),
        ("--truncate_64bit_io", ["float32", "int32", "int32", "float32"]),
        ("--truncate_64bit_tensors", ["float32", "int64", "int64", "float32"]),
        ("--quantize_io", ["int8", "int64", "int64", "int8"]),
    ],
)
def test_each_alone(options: str, dtypes: list[str], model: Path, sample: dict[str, Array]) -> None:
    specs = _check(model, options, sample, ())

    assert list(specs) == ["image", "index", "next", "score"]
    assert [s.dtype for s in specs.values()] == dtypes


def test_64_bit_tensors_become_32_bits_inside(model: Path) -> None:
    inside = {}
    for options in ("", "--truncate_64bit_io --truncate_64bit_tensors"):
        target = model.with_suffix(".tflite")
        qdq.compile(model, target, options=f"--target_runtime tflite {options}")
        tensors = read_tflite(target.read_bytes()).tensors
        inside[options] = any(tensor.dtype == "int64" for tensor in tensors)

    assert list(inside.values()) == [True, False]


def test_the_file_tells_its_producer_and_source(model: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    target = model.with_suffix(".tflite")
    qdq.compile(model, target, options="--target_runtime tflite")

    data = target.read_bytes()
    file = schema.ModelT.InitFromPackedBuf(data, 0)
    (entry,) = [e for e in file.metadata if e.name == b"qdq"]
    told = json.loads(bytes(file.buffers[entry.buffer].data))
    assert (told["producer"], told["version"]) == ("qdq", qdq.__version__)
    assert told["source_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert file.description == f"qdq {qdq.__version__}".encode()
