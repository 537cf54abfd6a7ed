"""Several option sets side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import qdq as package

RNG = np.random.default_rng(8)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 17]>
        g (float[1,4,6,6] x) => (float y, int64 k) {
            c = Conv (x, w) r = Relu (c) p = GlobalAveragePool (r) f = Flatten (p)
            y = Gemm (f, v) k = ArgMax <axis = 1> (y) }""")
    for name, shape in {"w": (4, 4, 3, 3), "v": (4, 5)}.items():
        array = RNG.normal(0, 0.4, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = node.output[0]
    folder = tmp_path_factory.mktemp("sweep")
    onnx.save(model, folder / "net.onnx")
    np.savez(folder / "data.npz", x=RNG.normal(size=(20, 4, 6, 6)).astype(np.float32))
    return folder / "net.onnx", folder / "data.npz"


def test_each_row_is_what_quantizing_so_gives(net: tuple[Path, Path]) -> None:
    sets = [
        "--rounding nearest",
        "--activations int16 --rounding nearest",
        "--weights=int4 --exclude_nodes 'c|y'",
    ]
    rows = package.sweep(*net, sets).rows
    assert [row.precision for row in rows] == ["w8a8", "w8a16", "w4a8"]
    assert [row.options for row in rows] == sets
    alone = package.quantize(*net, activations="int16", options="--rounding nearest").report
    assert rows[1].outputs["y"]["sqnr_db"] == alone.outputs["y"].sqnr_db
    assert rows[1].worst_sqnr == alone.outputs["y"].sqnr_db, "of float outputs"
    assert rows[0].weight_bytes == 4 * 4 * 9 + 20
    assert rows[2].weight_bytes == 0
    assert rows[1].nodes_by_bits == {16: 5}
    assert rows[2].float_islands == 3, "c, y, and ArgMax, which has no rule"
    assert all(row.held_out for row in rows)


def test_the_best_is_that_of_the_largest_sqnr(net: tuple[Path, Path]) -> None:
    found = package.sweep(*net, ["", "--activations int16", "--weights int4"])
    assert found.best is found.rows[1]
    assert found.to_dict()["best"] == 1


def test_a_set_that_fails_has_its_error_and_others_go_on(net: tuple[Path, Path]) -> None:
    found = package.sweep(*net, ["--override nobody=int16", "--rounding nearest"])
    assert found.failed == 1
    assert found.rows[0].error is not None
    assert "'nobody'" in found.rows[0].error["message"]
    assert found.best is found.rows[1]


@pytest.mark.parametrize(
    ("sets", "error"),
    [
        ([], package.OptionError),
        (["", "--rouding nearest"], package.OptionError),
        (["--activations"], package.OptionError),
        (["--weights int3"], package.PrecisionError),
        (["--quantize_target tflite --weights int4 --activations int16"], package.PrecisionError),
    ],
)
def test_sets_are_checked_before_any_work(sets: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        package.sweep("missing.onnx", "missing.npz", sets)


def test_the_command(net: tuple[Path, Path], qdq: Callable[..., Any]) -> None:
    done = qdq("sweep", *net, "--options", "", "--options", "--rounding nearest", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 0
    assert list(document) == ["schema", "rows", "best", "failed"]
    assert document["schema"] == "qdq.sweep/1"
    keys = {"options", "precision", "outputs", "worst_sqnr_db", "weight_bytes", "nodes_by_bits"}
    keys |= {"float_islands", "held_out", "seconds", "error"}
    assert all(set(row) == keys for row in document["rows"])
    table = qdq("sweep", *net, "--options", "", "--options", "--range nobody=0,1")
    assert table.exit_code == 1
    assert "failed" in table.stdout and "'nobody'" in table.stdout
    assert qdq("sweep", *net, "--options", "--frob").exit_code == 2
    assert qdq("sweep", *net).exit_code == 2


def test_levers_and_dry_run_of_the_command(
    net: tuple[Path, Path], qdq: Callable[..., Any], tmp_path: Path
) -> None:
    levers = ("--override", "c=int16", "--exclude_op_types", "Gemm", "--range", "p=0,3")
    dry = qdq("quantize", net[0], "--dry_run", *levers, "--json")
    assert dry.exit_code == 0
    document = json.loads(dry.stdout)
    assert document["schema"] == "qdq.quantize.plan/1"
    bits = {row["node"]: row["bits"] for row in document["nodes"]}
    assert bits == {"c": 16, "r": 16, "p": 8, "f": 8, "y": None, "k": None}
    assert {row["tensor"] for row in document["converts"]} == {"r"}
    out = tmp_path / "q.onnx"
    words = ("quantize", net[0], "--calibration", net[1], "-o", out, *levers)
    done = qdq(*words, "--options", "--rounding nearest", "--per_channel", "false", "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["schema"] == "qdq.quantize/1"
    placed = {row["tensor"]: row["encoding"]["dtype"] for row in document_sites(result)}
    assert placed == {"x": "uint16", "r": "uint16", "p": "uint8", "f": "uint8"}
    told = qdq("explain", out, "--tensor", "p", "--json")
    schemes = {row["tensor"]: row["scheme"] for row in json.loads(told.stdout)["sites"]}
    assert schemes == {"p": "given", "f": "given"}, "and what shares its encoding"
    assert qdq("explain", out, "--tensor", "nobody").exit_code == 2
    assert qdq("explain", net[0]).exit_code == 1
    for wrong in ("nobody=int16", "c=int12", "c(=int16"):
        assert qdq("quantize", net[0], "--dry_run", "--override", wrong).exit_code == 2


def document_sites(result: dict[str, Any]) -> list[dict[str, Any]]:
    return result["report"]["plan"]["activations"]
