"""Inputs and outputs: names, order, dtypes, encodings, and what the file tells of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdq.base.errors import SpecError
from qdq.runtime.litert.model_file import read_tflite
from qdq.runtime.litert.sources import read_provenance
from qdq.target.interface import InterfaceRequest
from qdq.target.tflite import compile_tflite

TEXT = """
g (float[1,2,4,3] first, float[1,2,4,3] second) => (float[1,2,4,3] sum, float[1,2,4,3] product) {
  sum = Add (first, second)
  product = Mul (first, second)
}
"""


@pytest.fixture
def quantized(
    parse: Callable[..., Any], quantize: Callable[..., Any], samples: Callable[..., Any]
) -> Callable[..., Any]:
    def made(dtype: str) -> Any:
        model = parse(TEXT)
        return quantize(model, samples(model), activations=dtype)

    return made


def test_signature_keeps_names_and_order(
    parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    made = lite(parse(TEXT))

    assert [spec.name for spec in made.model.input_spec] == ["first", "second"]
    assert [spec.name for spec in made.model.output_spec] == ["sum", "product"]
    interpreter = Interpreter(model_content=made.model.data)
    assert [d["name"] for d in interpreter.get_input_details()] == ["first", "second"]
    assert [d["name"] for d in interpreter.get_output_details()] == ["sum", "product"]
    signature = interpreter.get_signature_list()["serving_default"]
    assert signature == {"inputs": ["first", "second"], "outputs": ["product", "sum"]}


@pytest.mark.parametrize(
    ("dtype", "io_type", "wanted"),
    [("int8", None, "int8"), ("int8", "uint8", "uint8"), ("int16", None, "int16")],
)
def test_integer_edges_change_no_number(
    dtype: str,
    io_type: str | None,
    wanted: str,
    quantized: Callable[..., Any],
    lite: Callable[..., Any],
    samples: Callable[..., Any],
) -> None:
    model = quantized(dtype)
    outer = lite(model)
    inner = lite(model, quantize_io=True, quantize_io_type=io_type)
    (sample,) = samples(model, count=1)

    specs = {spec.name: spec for spec in (*inner.model.input_spec, *inner.model.output_spec)}
    assert {spec.dtype for spec in specs.values()} == {wanted}
    info = np.iinfo(wanted)
    given = {
        name: np.clip(
            np.rint(array / specs[name].scale) + specs[name].zero_point, info.min, info.max
        ).astype(wanted)
        for name, array in sample.items()
    }
    snapped = {
        name: ((array.astype(np.int32) - specs[name].zero_point) * np.float32(specs[name].scale))
        for name, array in given.items()
    }
    floats = outer.run({name: array.astype(np.float32) for name, array in snapped.items()})
    for name, integers in inner.run(given).items():
        real = (integers.astype(np.int32) - specs[name].zero_point) * np.float32(specs[name].scale)
        np.testing.assert_allclose(real, floats[name], rtol=1e-6)


def test_float_edges_are_told(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    notices = lite(parse(TEXT), quantize_io=True).model.notices

    assert len(notices) == 4
    assert "input 'first' stays float" in notices[0]


def test_renamed_outputs(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    made = lite(parse(TEXT), output_names=("a", "b"), channels_last_outputs=("b",))

    assert [spec.name for spec in made.model.output_spec] == ["a", "b"]
    assert made.model.output_spec[1].shape == (1, 4, 3, 2)


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        ({"channels_last_inputs": ("third",)}, "names 'third', which is no input"),
        ({"channels_last_outputs": ("first",)}, "names 'first', which is no output"),
    ],
)
def test_wrong_names(
    request_: dict[str, Any], match: str, parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    with pytest.raises(SpecError, match=match):
        lite(parse(TEXT), **request_)


def test_two_outputs_of_one_tensor(
    parse: Callable[..., Any], check_float: Callable[..., Any]
) -> None:
    check_float(
        parse("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Relu (x) z = Relu (x) }")
    )


def test_file_tells_producer_and_source(parse: Callable[..., Any]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    made = compile_tflite(parse(TEXT), InterfaceRequest(), source_sha256="ab" * 32)

    model = schema.Model.GetRootAs(made.data, 0)
    entry = model.Metadata(0)
    told = json.loads(bytes(model.Buffers(entry.Buffer()).DataAsNumpy()))
    assert entry.Name() == b"qdq"
    assert told["producer"] == "qdq"
    assert told["source_sha256"] == "ab" * 32


def test_constants_are_aligned_and_stored_once(
    parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    weight = np.arange(35, dtype=np.float32).reshape(5, 7)
    made = lite(
        parse(
            "g (float[1,5] x) => (float[1,7] y, float[1,7] z)"
            " { y = MatMul (x, w) r = Relu (x) z = MatMul (r, v) }",
            w=weight,
            v=weight.copy(),
        )
    )

    data = made.model.data
    content = weight.T.copy().tobytes()
    assert data.count(content) == 1
    assert data.index(content) % 16 == 0
    assert len(data) % 16 == 0
    assert schema.Model.GetRootAs(data, 0).Version() == 3


def test_the_same_model_gives_the_same_bytes(
    quantized: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    model = quantized("int8")

    assert lite(model).model.data == lite(model).model.data


def test_provenance_names_onnx_nodes(parse: Callable[..., Any], lite: Callable[..., Any]) -> None:
    made = lite(
        parse(
            "g (float[1,2,4,4] x) => (float[?,?,?,?] y) { c = Conv (x, w) y = Relu (c) }",
            w=np.ones((2, 2, 1, 1), np.float32),
        )
    )

    assert [operator.name for operator in made.operators][1] == "CONV_2D"
    assert made.model.provenance[1] == ("make_c", "make_y")
    assert len(made.model.provenance) == len(made.operators)


@pytest.mark.parametrize(
    ("dtype", "edge"), [("uint8", "uint8"), ("int8", "int8"), ("uint16", "int16")]
)
def test_models_that_exchange_integers_already(
    dtype: str,
    edge: str,
    parse: Callable[..., Any],
    lite: Callable[..., Any],
    run: Callable[..., Any],
) -> None:
    info = np.iinfo(dtype)
    zero = (info.min + info.max + 1) // 2
    model = parse(
        f"g ({dtype}[1,2,4,3] x) => ({dtype}[1,2,4,3] y) {{ f = DequantizeLinear (x, s, z) "
        "r = Relu (f) y = QuantizeLinear (r, s, z) }",
        opset=21,
        s=np.float32(0.1),
        z=np.asarray(zero, dtype),
    )

    made = lite(model)

    assert made.model.input_spec[0].dtype == made.model.output_spec[0].dtype == edge
    given = np.random.default_rng(0).integers(info.min, info.max, (1, 2, 4, 3)).astype(dtype)
    shift = zero if dtype != edge else 0
    found = made.run({"x": (given.astype(np.int64) - shift).astype(edge)})["y"]
    np.testing.assert_array_equal(found.astype(np.int64) + shift, run(model, {"x": given})["y"])


def test_the_file_tells_which_nodes_each_operator_stands_for(
    parse: Callable[..., Any], lite: Callable[..., Any], tmp_path: Path
) -> None:
    made = lite(parse("g (float[1,4] x) => (float[1,4] y) { a = Relu (x) y = Add (a, x) }"))
    path = tmp_path / "model.tflite"
    path.write_bytes(made.model.data)

    assert read_provenance(read_tflite(path)) == made.model.provenance
    assert any(made.model.provenance)


@pytest.mark.parametrize(
    ("reader", "notice", "dtype"),
    [
        (
            "w = QuantizeLinear (x, t, o) v = DequantizeLinear (w, t, o) z = Sigmoid (v)",
            "stays float: the model quantizes it with several encodings",
            "float32",
        ),
        ("z = Sigmoid (x)", "is also read in float: rounded", "int8"),
    ],
)
def test_an_input_that_is_read_in_two_ways(
    reader: str,
    notice: str,
    dtype: str,
    parse: Callable[..., Any],
    lite: Callable[..., Any],
    run: Callable[..., Any],
) -> None:
    model = parse(
        f"""g (float[1,8] x) => (float[1,8] y, float[1,8] z) {{
        q = QuantizeLinear (x, s, o) d = DequantizeLinear (q, s, o) y = Tanh (d) {reader} }}""",
        s=np.float32(0.001),
        t=np.float32(0.1),
        o=np.int8(0),
    )

    made = lite(model, quantize_io=True)

    assert made.model.input_spec[0].dtype == dtype
    assert any(notice in told for told in made.model.notices), made.model.notices
    sample = {"x": np.linspace(-9, 9, 8, dtype=np.float32).reshape(1, 8)}
    if dtype == "float32":
        # The second reader sees what the first one's grid would have cut off.
        wanted = run(model, sample)
        np.testing.assert_allclose(made.run(sample)["z"], wanted["z"], atol=1e-5)
