"""The table of precisions, row by row."""

from __future__ import annotations

import pytest

from qdq.base.errors import PrecisionError
from qdq.base.precision import (
    PrecisionRow,
    check_precision,
    check_quantize_target,
    precision_table,
)

# The public documentation: TFLite int8/int8; QNN and ONNX int8 weights with int8 or int16.
DOCUMENTED = {
    ("tflite", "int8", "int8"),
    ("qnn", "int8", "int8"),
    ("qnn", "int8", "int16"),
    ("onnx", "int8", "int8"),
    ("onnx", "int8", "int16"),
}
ROWS = precision_table().rows


def row_id(row: PrecisionRow) -> str:
    return f"{row.runtime}-{row.precision.name}"


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_row(row: PrecisionRow) -> None:
    pair = (row.precision.weights, row.precision.activations)
    assert row.beyond_documentation == ((row.runtime, *pair) not in DOCUMENTED)
    assert check_precision(*pair, row.runtime) == row.precision


def test_the_documented_rows_are_all_there() -> None:
    rows = {(row.runtime, row.precision.weights, row.precision.activations) for row in ROWS}
    assert rows >= DOCUMENTED
    assert len(rows) == len(ROWS)


@pytest.mark.parametrize(
    ("weights", "activations", "name", "bits"),
    [
        ("int8", "int8", "w8a8", (8, 8)),
        ("int8", "int16", "w8a16", (8, 16)),
        ("int4", "int8", "w4a8", (4, 8)),
        ("int4", "int16", "w4a16", (4, 16)),
        ("int16", "int16", "w16a16", (16, 16)),
    ],
)
def test_implemented(weights: str, activations: str, name: str, bits: tuple[int, int]) -> None:
    precision = check_precision(weights, activations)
    assert precision.name == name
    assert (precision.weight_bits, precision.activation_bits) == bits


@pytest.mark.parametrize(
    ("target", "pair", "name"),
    [
        ("tflite", ("int4", "int16"), "w4a16"),
        ("tflite", ("int16", "int16"), "w16a16"),
    ],
)
def test_a_quantize_target_refuses_what_its_runtime_lacks(
    target: str, pair: tuple[str, str], name: str
) -> None:
    with pytest.raises(PrecisionError, match=f"{target} does not have {name}"):
        check_quantize_target(*pair, target)


@pytest.mark.parametrize("target", ["portable", "htp-v68", "ort-x86"])
@pytest.mark.parametrize("pair", [("int4", "int8"), ("int4", "int16"), ("int16", "int16")])
def test_quantize_targets_that_have_it(target: str, pair: tuple[str, str]) -> None:
    bits = tuple(dtype.removeprefix("int") for dtype in pair)
    assert check_quantize_target(*pair, target).name == f"w{bits[0]}a{bits[1]}"


@pytest.mark.parametrize(
    ("weights", "activations", "runtime", "part"),
    [
        ("int16", "int16", "tflite", "The runtime tflite does not have w16a16"),
        ("int16", "int8", None, "No runtime has w16a8"),
        ("float32", "int8", None, "'float32' is not a dtype of quantized weights"),
        ("int8", "uint8", None, "'uint8' is not a dtype of quantized activations"),
        ("INT8", "int8", None, "Use one of int4, int8, int16"),
        ("int8", "int8", "coreml", "There is no runtime 'coreml'"),
    ],
)
def test_refusals(weights: str, activations: str, runtime: str | None, part: str) -> None:
    with pytest.raises(PrecisionError) as caught:
        check_precision(weights, activations, runtime)
    assert part in str(caught.value)


@pytest.mark.parametrize("runtime", ["qnn_dlc", "qnn_context_binary", "precompiled_qnn_onnx"])
def test_target_runtimes_belong_to_their_family(runtime: str) -> None:
    assert check_precision("int8", "int16", runtime).name == "w8a16"
