"""AIMET folders compiled: Q/DQ with exactly the exported encodings, the numbers they imply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import onnx_ir as ir
import pytest

import qdq
from qdq.base.progress import NO_PROGRESS
from qdq.frontend import import_aimet
from qdq.library._aimet import apply_encodings

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1,2,4,4] x) => (float[1,3] y)
{
  [conv] c = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w, b)
  [relu] r = Relu (c)
  [up] u = ConvTranspose <kernel_shape = [2,2], strides = [2,2]> (r, v)
  [mean] m = GlobalAveragePool (u)
  [flat] f = Flatten (m)
  [gain] g = Mul (f, k)
  [fc] h = Gemm <transB = 1> (g, q)
  [mm] y = MatMul (h, p)
}
"""
# Square where they can be: the count of scales alone does not tell the axis.
SHAPES = {"w": (3, 2, 3, 3), "b": (3,), "v": (3, 3, 2, 2), "k": (1, 3), "q": (3, 3), "p": (3, 3)}
# The output channels of each weight.
AXES = {"w": 0, "v": 1, "q": 0, "p": 1}
ACTIVATIONS = {
    "x": (0.02, 120),
    "r": (0.03, 0),
    "u": (0.04, 100),
    "m": (0.04, 100),
    "g": (0.05, 90),
    "h": (0.1, 128),
    "y": (0.2, 110),
}
CONSTANT = ("k", 0.015, 128)
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def weights() -> dict[str, Array]:
    random = np.random.default_rng(3)
    return {n: random.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}


@pytest.fixture(scope="module")
def scales(weights: dict[str, Array]) -> dict[str, Array]:
    found = {}
    for name, axis in AXES.items():
        others = tuple(a for a in range(weights[name].ndim) if a != axis)
        found[name] = (np.abs(weights[name]).max(axis=others) / 127).astype(np.float32)
    return found


def legacy(scales: dict[str, Array], bits: int) -> dict[str, Any]:
    def entry(
        scale: float, zero: int, *, width: int = 8, symmetric: bool = False
    ) -> dict[str, Any]:
        return {
            "bitwidth": width,
            "dtype": "int",
            "is_symmetric": str(symmetric),
            "offset": -zero,
            "scale": float(scale),
        }

    half = 1 << (bits - 1)
    params = {
        name: [entry(s, half, width=bits, symmetric=True) for s in values]
        for name, values in scales.items()
    }
    name, scale, zero = CONSTANT
    params["b"] = [entry(1e-5, 1 << 31, width=32, symmetric=True)]
    return {
        "version": "0.6.1",
        "activation_encodings": {n: [entry(*it)] for n, it in ACTIVATIONS.items()}
        | {"f": [{"bitwidth": 16, "dtype": "float"}]},
        "param_encodings": params | {name: [entry(scale, zero, symmetric=True)]},
    }


def versioned(scales: dict[str, Array], bits: int) -> dict[str, Any]:
    old = legacy(scales, bits)

    def entry(name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        first = items[0]
        if first["dtype"] == "float":
            return {"name": name, "dtype": "FLOAT", "bw": 16, "enc_type": "PER_TENSOR"}
        return {
            "name": name,
            "dtype": "INT",
            "bw": first["bitwidth"],
            "enc_type": "PER_CHANNEL" if len(items) > 1 else "PER_TENSOR",
            "is_sym": first["is_symmetric"] == "True",
            "scale": [it["scale"] for it in items],
            "offset": [it["offset"] for it in items],
        }

    groups = {key: old[key] for key in ("activation_encodings", "param_encodings")}
    return {"version": "1.0.0"} | {
        key: [entry(name, items) for name, items in group.items()] for key, group in groups.items()
    }


def onnx_like(scales: dict[str, Array], bits: int) -> dict[str, Any]:
    name, scale, _ = CONSTANT
    return {
        "version": "2.0.0",
        "encodings": [
            *(
                {"name": n, "output_dtype": "uint8", "y_scale": s, "y_zero_point": z}
                for n, (s, z) in ACTIVATIONS.items()
            ),
            *(
                {
                    "name": n,
                    "output_dtype": f"int{bits}",
                    "y_scale": values.tolist(),
                    "axis": AXES[n] - (len(SHAPES[n]) if n == "p" else 0),
                }
                for n, values in scales.items()
            ),
            {"name": name, "output_dtype": "int8", "y_scale": scale},
            {"name": "b", "output_dtype": "int32", "y_scale": [1e-5] * 3, "axis": 0},
            {"name": "f", "output_dtype": "float16"},
        ],
    }


VERSIONS = {"0.6.1": legacy, "1.0.0": versioned, "2.0.0": onnx_like}


def write(
    folder: Path, weights: dict[str, Array], document: object, *, constants: bool = False
) -> Path:
    model = onnx.parser.parse_model(TEXT)
    for name, array in weights.items():
        tensor = onnx.numpy_helper.from_array(array, name)
        if constants and name == "k":
            node = onnx.helper.make_node("Constant", [], ["k"], value=tensor)
            model.graph.node.insert(0, node)
        else:
            model.graph.initializer.append(tensor)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "net.onnx")
    (folder / "net.encodings").write_text(json.dumps(document))
    return folder


def fake(values: Array, scale: Any, zero: int, bits: int, *, axis: int | None = None) -> Array:
    """Quantize and dequantize; ``zero`` is that of unsigned integers."""
    scale = np.asarray(scale, np.float32)
    if axis is not None:
        scale = scale.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    integers = np.clip(np.rint(values / scale) + zero, 0, 2**bits - 1) - zero
    return integers.astype(np.float32) * scale


def oracle(weights: dict[str, Array], scales: dict[str, Array], bits: int, x: Array) -> Array:
    """Run op by op with the reference implementation of ONNX, quantizing by numpy in between."""
    half = 1 << (bits - 1)
    values = {n: fake(weights[n], s, half, bits, axis=AXES[n]) for n, s in scales.items()}
    name, scale, zero = CONSTANT
    values |= {"b": weights["b"], name: fake(weights[name], scale, zero, 8), "x": x}
    values["x"] = fake(x, *ACTIVATIONS["x"], 8)
    model = onnx.parser.parse_model(TEXT)
    for node in model.graph.node:
        inputs = [onnx.helper.make_tensor_value_info(n, 1, None) for n in node.input]
        output = onnx.helper.make_tensor_value_info(node.output[0], 1, None)
        graph = onnx.helper.make_graph([node], "one", inputs, [output])
        one = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
        feeds = {n: values[n] for n in node.input}
        (result,) = onnx.reference.ReferenceEvaluator(one).run(None, feeds)
        made = node.output[0]
        values[made] = fake(result, *ACTIVATIONS[made], 8) if made in ACTIVATIONS else result
    return values["y"]


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_gives_the_numbers_it_implies(
    tmp_path: Path,
    weights: dict[str, Array],
    scales: dict[str, Array],
    *,
    version: str,
    bits: int,
) -> None:
    scales = {
        name: values * np.float32(127 / (2 ** (bits - 1) - 1)) for name, values in scales.items()
    }
    folder = write(tmp_path / "net.aimet", weights, VERSIONS[version](scales, bits))
    result = qdq.compile(folder, tmp_path / "out.onnx", options="--target_runtime onnx")
    onnx.checker.check_model(str(tmp_path / "out.onnx"), full_check=True)
    x = np.random.default_rng(1).normal(size=(8, 2, 4, 4)).astype(np.float32)
    found = qdq.run(tmp_path / "out.onnx", {"x": x}).outputs
    assert found is not None
    for index, image in enumerate(x):
        expected = oracle(weights, scales, bits, image[None])
        # A sum that rounds at a tie may move one step, and that through the next layer.
        np.testing.assert_allclose(found["y"][index], expected, atol=0.41)
    exact = sum(
        np.allclose(found["y"][i], oracle(weights, scales, bits, x[i][None]), atol=1e-5)
        for i in range(len(x))
    )
    assert exact >= len(x) // 2
    assert any("1 encodings of 32 bits" in notice for notice in result.notices)
    assert any("1 tensors stay float" in notice for notice in result.notices)
    assert result.precision is not None
    assert result.precision.startswith(f"w{min(bits, 8)}a")


def encodings_of(model: onnx.ModelProto) -> dict[str, tuple[Any, ...]]:
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return {
        node.input[0]: (arrays[node.input[1]], arrays[node.input[2]], node.attribute)
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def test_the_graph_holds_exactly_the_encodings(
    tmp_path: Path, weights: dict[str, Array], scales: dict[str, Array]
) -> None:
    folder = write(tmp_path / "net", weights, legacy(scales, 8), constants=True)
    model = ir.to_proto(apply_encodings(import_aimet(folder), NO_PROGRESS))
    found = encodings_of(model)
    assert set(found) == {*(set(ACTIVATIONS) - {"y"}), "y_raw", *AXES, "k"}
    for name, (scale, zero) in ACTIVATIONS.items():
        stored = found["y_raw" if name == "y" else name]
        assert (stored[0], stored[1]) == (np.float32(scale), zero)
        assert stored[1].dtype == np.uint8
    for name, values in scales.items():
        np.testing.assert_array_equal(found[name][0], values)
        assert found[name][1].dtype == np.int8
        assert not found[name][1].any()
        assert found[name][2][0].i == AXES[name]
    assert [output.name for output in model.graph.output] == ["y"]


def test_integers_at_the_edges(
    tmp_path: Path, weights: dict[str, Array], scales: dict[str, Array]
) -> None:
    folder = write(tmp_path / "net", weights, legacy(scales, 8))
    result = qdq.compile(folder, options="--quantize_io")
    assert [(it.dtype, it.zero_point) for it in result.input_spec] == [("uint8", 120)]
    assert [(it.dtype, it.zero_point) for it in result.output_spec] == [("uint8", 110)]


def test_encodings_without_a_tensor_are_listed(
    tmp_path: Path, weights: dict[str, Array], scales: dict[str, Array]
) -> None:
    document = legacy(scales, 8)
    for number in range(7):
        document["activation_encodings"][f"gone{number}"] = [document["param_encodings"]["k"][0]]
    folder = write(tmp_path / "net", weights, document)
    with pytest.raises(qdq.ModelInvalidError) as caught:
        qdq.compile(folder)
    assert "no tensor for 7 of" in str(caught.value)
    assert "'gone0', 'gone1'" in str(caught.value)
    assert "and 2 more" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "entries", "error", "part"),
    [
        ("w", 4, qdq.ModelInvalidError, "4 scales"),
        ("x", 2, qdq.UnsupportedError, "scale for each channel"),
    ],
)
def test_channels_that_do_not_fit(
    tmp_path: Path,
    weights: dict[str, Array],
    scales: dict[str, Array],
    *,
    name: str,
    entries: int,
    error: type[Exception],
    part: str,
) -> None:
    document = legacy(scales, 8)
    group = "param_encodings" if name == "w" else "activation_encodings"
    document[group][name] = [document[group][name][0]] * entries
    with pytest.raises(error, match=part):
        qdq.compile(write(tmp_path / "net", weights, document))


def test_a_quantized_model_with_encodings_is_refused(
    tmp_path: Path, quantized_proto: onnx.ModelProto
) -> None:
    onnx.save(quantized_proto, tmp_path / "m.onnx")
    (tmp_path / "m.encodings").write_text('{"version": "2.0.0", "encodings": []}')
    with pytest.raises(qdq.ModelInvalidError, match="holds Q/DQ nodes"):
        qdq.compile(tmp_path)


def test_other_functions_name_the_way(
    tmp_path: Path, weights: dict[str, Array], scales: dict[str, Array]
) -> None:
    folder = write(tmp_path / "net", weights, legacy(scales, 8))
    found = qdq.inspect(folder)
    assert found.format == "aimet"
    assert found.ops["Conv"] == 1
    with pytest.raises(qdq.UnsupportedError, match=r"is an AIMET folder.*qdq compile"):
        qdq.run(folder, {"x": np.zeros((1, 2, 4, 4), np.float32)})
    (folder / "net.encodings").write_text("[]")
    with pytest.raises(qdq.ModelInvalidError, match="JSON object"):
        qdq.inspect(folder)
