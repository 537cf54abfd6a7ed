"""Provenance beside a model, and what ``explain`` makes of it and of models of other tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import qdq

RNG = np.random.default_rng(4)
NET = """
    <ir_version: 10, opset_import: ["" : 17]>
    net (float[1,4,8,8] x) => (float[1,5] y) {
        c = Conv <pads = [1,1,1,1]> (x, w, b)
        n = BatchNormalization (c, gain, b, b, gain)
        r = Relu (n)
        p = GlobalAveragePool (r)
        f = Flatten (p)
        l = Gemm (f, v, d)
        y = Softmax (l)
    }
"""
SAMPLES = {"x": RNG.normal(size=(40, 4, 8, 8)).astype(np.float32)}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = onnx.parser.parse_model(NET)
    for name, shape in {"w": (4, 4, 3, 3), "b": (4,), "v": (4, 5), "d": (5,)}.items():
        array = RNG.normal(0, 0.3, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 2, 1, 2]), "gain"))
    for node in model.graph.node:
        node.name = f"/{node.output[0]}"
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def made(net: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "q.onnx"
    options = "--override /p=int16 --range l=-2,2 --exclude_nodes /y"
    done = qdq.quantize(net, SAMPLES, out, options=options)
    assert done.provenance == out.with_name("q.onnx.provenance.json")
    return out


def told(model: Path) -> dict:
    return json.loads(model.with_name(f"{model.name}.provenance.json").read_text())


def test_the_provenance_names_what_went_in_and_came_out(net: Path, made: Path) -> None:
    found = told(made)
    assert found["schema"] == "qdq.provenance/1"
    assert found["source"]["sha256"] == hashlib.sha256(net.read_bytes()).hexdigest()
    assert found["model"]["sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert found["calibration"]["samples"] == 40
    assert found["tools"]["qdq"] == qdq.__version__
    assert found["options_in_force"]["range_scheme"] == "auto"
    assert found["nodes"]["/c"] == ["/c", "/n"]
    assert [row["node"] for row in found["float_islands"]] == ["/y"]


def test_every_encoding_of_the_file_is_explained(made: Path) -> None:
    rows = told(made)["sites"]
    assert all(row["why"] and row["rule"] for row in rows)
    why = {row["tensor"]: row["why"] for row in rows if row["kind"] == "activation"}
    assert "the user gave the range" in why["l"]
    assert "gate split" in why["r"]
    alone = qdq.explain(onnx.load(made)).sites
    scales = sorted(str(row["encoding"]["scale"]) for row in alone)
    assert scales == sorted(str(row["encoding"]["scale"]) for row in rows)
    dtypes = [row["encoding"]["dtype"] for row in alone]
    assert sorted(dtypes) == sorted(row["encoding"]["dtype"] for row in rows)
    kinds = [row["kind"] for row in alone]
    assert sorted(kinds) == sorted(row["kind"] for row in rows)
    kept = qdq.explain(onnx.load(made)).metadata
    assert kept["qdq.options"] == told(made)["options"]
    assert kept["qdq.calibration_sha256"] == told(made)["calibration"]["sha256"]


def test_the_digest_of_the_samples_ignores_their_order(net: Path, tmp_path: Path) -> None:
    shuffled = {"x": SAMPLES["x"][RNG.permutation(40)]}
    outs = []
    for number, samples in enumerate((SAMPLES, shuffled)):
        folder = tmp_path / str(number)
        folder.mkdir()
        qdq.quantize(net, samples, folder / "q.onnx")
        outs.append(folder / "q.onnx")
    assert outs[0].read_bytes() == outs[1].read_bytes()
    first, second = (out.with_name("q.onnx.provenance.json").read_bytes() for out in outs)
    assert first == second
    other = {"x": SAMPLES["x"] * np.float32(1.5)}
    qdq.quantize(net, other, tmp_path / "q.onnx")
    assert told(tmp_path / "q.onnx")["calibration"] != told(outs[0])["calibration"]


def test_explain_uses_the_provenance_of_this_very_model(made: Path, tmp_path: Path) -> None:
    found = qdq.explain(made)
    assert found.provenance == told(made)
    assert found.notices == ()
    copy = tmp_path / "q.onnx"
    shutil.copy(made, copy)
    assert qdq.explain(copy).provenance is None
    beside = copy.with_name("q.onnx.provenance.json")
    model = onnx.load(copy)
    model.doc_string = "changed"
    onnx.save(model, copy)
    shutil.copy(made.with_name(beside.name), beside)
    (notice,) = qdq.explain(copy).notices
    assert "is of another model" in notice


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"schema": "qdq.provenance/1"}', "[" * 100_000, "\xff"]
)
def test_a_file_that_is_no_provenance_is_not_used(text: str, made: Path, tmp_path: Path) -> None:
    shutil.copy(made, tmp_path / "q.onnx")
    (tmp_path / "q.onnx.provenance.json").write_bytes(text.encode("latin-1"))
    found = qdq.explain(tmp_path / "q.onnx")
    assert found.provenance is None
    assert len(found.notices) == 1


def test_a_foreign_model_with_integer_weights() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        other (float[1,3] x) => (float[1,2] y) {
            q = QuantizeLinear (x, s, z)
            d = DequantizeLinear (q, s, z)
            w = DequantizeLinear <axis = 1> (wi, ws, wz)
            m = MatMul (d, w)
            e = Exp (m)
            r = Relu (e)
            yq = QuantizeLinear (r, s, z)
            y = DequantizeLinear (yq, s, z)
        }""")
    arrays = {
        "s": np.float32(0.5),
        "z": np.uint8(128),
        "wi": np.int8([[1, 2]] * 3),
        "ws": np.float32([0.25, 0.125]),
        "wz": np.int8([0, 0]),
    }
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    found = qdq.explain(model)
    rows = {row["tensor"]: row for row in found.sites}
    assert {name: row["kind"] for name, row in rows.items()} == {
        "x": "activation",
        "wi": "weight",
        "y": "activation",
    }
    assert rows["wi"]["encoding"] == {
        "dtype": "int8",
        "scale": [0.25, 0.125],
        "zero_point": [0, 0],
        "axis": 1,
    }
    assert rows["x"]["rule"] == "graph input, read by MatMul"
    assert [row["op_type"] for row in found.floats] == ["Exp"]


def test_a_model_without_pairs_has_nothing_to_explain(net: Path) -> None:
    with pytest.raises(qdq.ModelInvalidError, match="no Q/DQ pairs"):
        qdq.explain(net)


def test_nothing_is_written_over_what_is_there(net: Path, tmp_path: Path) -> None:
    (tmp_path / "q.onnx.provenance.json").mkdir()
    with pytest.raises(qdq.OutputError):
        qdq.quantize(net, SAMPLES, tmp_path / "q.onnx")
    assert not (tmp_path / "q.onnx").exists()


SCRIPT = """
import sys
import numpy as np
import qdq

source, folder, seed = sys.argv[1:]
data = np.load(f"{folder}/data.npy")[np.random.default_rng(int(seed)).permutation(40)]
options = "--override (/p|/l)=int16 --exclude_nodes /y --range r=0,9"
qdq.quantize(source, {"x": data}, f"{folder}/{seed}/q.onnx", options=options)
"""


def test_the_same_bytes_in_every_process_and_order(net: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", SAMPLES["x"])
    made = []
    for seed in ("1", "2", "3"):
        (tmp_path / seed).mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(net), str(tmp_path), seed],
            check=True,
            env=environment,
        )
        files = sorted((tmp_path / seed).iterdir())
        made.append({path.name: path.read_bytes() for path in files})
    assert set(made[0]) == {"q.onnx", "q.onnx.provenance.json"}
    assert made[0] == made[1] == made[2]
