"""``qdq lint``: exit codes, the JSON document, and what people read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

import qdq as package

GOOD = "g (float[1,4] x) => (float[1,4] y) { [act] y = Relu (x) }"
BAD = "g (float[N,4] x) => (float[N,4] y) { [act] y = Sinh (x) }"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return written


def test_a_sound_model_ends_with_zero(write: Callable[[str], Path], qdq: Callable[..., Any]):
    result = qdq("lint", write(GOOD))
    assert result.exit_code == 0
    assert "0 errors, 0 warnings for htp-v73" in result.stdout


def test_errors_end_with_one_and_name_the_node(
    write: Callable[[str], Path], qdq: Callable[..., Any]
):
    result = qdq("lint", write(BAD))
    assert result.exit_code == 1
    assert "[unsupported_op] Node 'act' (Sinh)" in " ".join(result.stdout.split())


def test_the_document_has_a_stable_form(write: Callable[[str], Path], qdq: Callable[..., Any]):
    path = write(BAD)
    result = qdq("lint", path, "--json", "--target", "htp-v68")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    keys = ["schema", "model", "target", "measured_with", "errors", "warnings", "findings"]
    assert list(document) == keys
    assert document["schema"] == 1
    assert document["errors"] == len(document["findings"]) == 3
    fields = {"rule", "severity", "node", "op_type", "tensor", "why", "remedy", "repaired"}
    assert all(set(row) == fields for row in document["findings"])
    assert {row["rule"] for row in document["findings"]} == {
        "dynamic_shape",
        "unsupported_op",
        "float_island",
    }


def test_an_unknown_target_is_wrong_usage(write: Callable[[str], Path], qdq: Callable[..., Any]):
    result = qdq("lint", write(GOOD), "--target", "htp-v70")
    assert result.exit_code == 2
    assert "htp-v69" in result.stderr


def test_the_library_gives_the_same(write: Callable[[str], Path]):
    result = package.lint(write(BAD), target="htp-v73")
    assert (result.errors, result.warnings) == (2, 0)
