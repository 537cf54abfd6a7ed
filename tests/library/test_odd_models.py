"""From file to file with models and data that are odd but legitimate, and with hopeless ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import qdq
from qdq.dataset import write_h5

HEAD = '<ir_version: 8, opset_import: ["" : 13]>'
RANDOM = np.random.default_rng(5)


def saved(text: str, path: Path, **weights: np.ndarray) -> Path:
    model = onnx.parser.parse_model(f"{HEAD} {text}")
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


# Names that the quantizer and the compiler would make themselves, and names that are no file names.
NAMES = [
    ("x", "x_q", "x_dq", "x_scale"),
    ("y_raw", "y_raw_q", "y", "y_raw_zero_point"),
    ("w_snapped", "w", "w_dq", "w_quantized"),
    ("in/put:0", "/w/", "out/put", "a b"),
    ("größe 入力", "ważność", "выход", "ñ"),
]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_names(names: tuple[str, ...], activations: str, tmp_path: Path) -> None:
    x, weight, y, hidden = names
    model = onnx.parser.parse_model(f"""{HEAD} g (float[1,3,8,8] x) => (float[1,4,6,6] y)
        {{ [one] c = Conv (x, w) [one] y = Relu (c) }}""")
    new = {"x": x, "w": weight, "y": y, "c": hidden}
    for node in model.graph.node:
        node.input[:] = [new[name] for name in node.input]
        node.output[:] = [new[name] for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = x, y
    model.graph.initializer.append(onnx.numpy_helper.from_array(normal(4, 3, 3, 3), weight))
    source, quantized, compiled = (tmp_path / name for name in ("f.onnx", "q.onnx", "c.onnx"))
    onnx.save(model, source)
    data = {x: normal(20, 3, 8, 8)}
    qdq.quantize(source, data, quantized, activations=activations)
    qdq.compile(quantized, compiled, options="--target_runtime onnx")
    for path in (quantized, compiled):
        onnx.checker.check_model(str(path), full_check=True)
        (output,) = qdq.compare(source, path, data, tensors=False).outputs
        assert output.name == y
        assert output.metrics.sqnr_db is not None
        assert output.metrics.sqnr_db > 30


def test_one_result_from_every_source_in_every_order(tmp_path: Path) -> None:
    model = saved(
        "g (float[1,4] a, float[1,4] b) => (float[1,4] s, float[1,4] p) "
        "{ s = Add (a, b) p = Mul (a, b) }",
        tmp_path / "two.onnx",
    )
    arrays = {"a": normal(20, 4), "b": normal(20, 4)}
    order = RANDOM.permutation(20)
    shuffled = {name: array[order] for name, array in arrays.items()}
    np.savez(tmp_path / "one.npz", **arrays)
    np.savez_compressed(tmp_path / "two.npz", **dict(reversed(shuffled.items())))
    write_h5(
        tmp_path / "three.h5", {n: [it[i : i + 1] for i in range(20)] for n, it in shuffled.items()}
    )
    (tmp_path / "folder").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    results = set()
    for number, source in enumerate(("one.npz", "two.npz", "three.h5", "folder", shuffled)):
        output = tmp_path / f"{number}.onnx"
        qdq.quantize(model, source if isinstance(source, dict) else tmp_path / source, output)
        results.add(output.read_bytes())
    assert len(results) == 1


HOPELESS = {
    "a scalar input": (
        "g (float[1,4] x, float s) => (float[1,4] y) { y = Mul (x, s) }",
        {"x": normal(3, 4), "s": normal(3)},
        (qdq.UnsupportedError, "'s' has no dimensions"),
    ),
    "a float64 input": (
        "g (double[1,4] x) => (double[1,4] y) { y = Relu (x) }",
        {"x": normal(3, 4)},
        (qdq.UnsupportedError, "float64"),
    ),
    "an open shape": (
        "g (float[N,4] x) => (float[N,4] y) { y = Relu (x) }",
        {"x": normal(3, 4)},
        (qdq.SpecError, r"Compile the model with --input-spec x:1x4:float32"),
    ),
    "a custom op": (
        "g (float[1,4] x) => (float[1,4] y) { y = acme.Magic (x) }",
        {"x": normal(3, 4)},
        (qdq.UnsupportedError, "'acme'"),
    ),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_hopeless_models_change_nothing(case: str, tmp_path: Path) -> None:
    text, data, (error, part) = HOPELESS[case]
    model, output = saved(text, tmp_path / "m.onnx"), tmp_path / "out.onnx"
    output.write_bytes(b"before")
    with pytest.raises(error, match=part):
        qdq.quantize(model, data, output, report=tmp_path / "r.json")
    assert output.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "out.onnx"}


def test_an_input_of_any_rank_runs(tmp_path: Path) -> None:
    model = saved("g (float[] x) => (float[] y) { y = Neg (x) }", tmp_path / "m.onnx")
    proto = onnx.load(model)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(proto, model)
    x = normal(3, 2, 5)
    found = qdq.run(model, {"x": x}).outputs
    assert found is not None
    np.testing.assert_array_equal(np.concatenate(found["y"]), -x)
    (row,) = qdq.compare(model, model, {"x": x}).outputs
    assert row.metrics.exact
