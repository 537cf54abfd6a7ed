"""The JSON tables of operators and targets, row by row."""

from __future__ import annotations

import json
from importlib.resources import files

import onnx
import pytest

from qdq.base.errors import OptionError
from qdq.base.options import JobKind, option_table
from qdq.quantizer.rules import TARGETS, load_ops, load_target

OPS = load_ops()
LATEST = onnx.defs.onnx_opset_version()
CLASSES = ("compute", "movement", "forward_tie", "backward_tie")


def table(name):
    return json.loads(files("qdq.quantizer.rules").joinpath(f"{name}.json").read_text())


def schema_of(op_type):
    return onnx.defs.get_schema(op_type, LATEST, "")


def is_input(schema, position):
    variadic = schema.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    return position < len(schema.inputs) or variadic


def takes_float(schema, position):
    formal = schema.inputs[min(position, len(schema.inputs) - 1)]
    return "tensor(float)" in formal.types


@pytest.mark.parametrize("op_type", OPS)
def test_op_row(op_type):
    row = table("ops")["ops"][op_type]
    assert set(row) <= {"class", "data", "weight", "bias", "recurrence"}
    assert row["class"] in CLASSES
    schema = schema_of(op_type)
    assert not schema.deprecated
    positions = [] if row["data"] == "all" else row["data"]
    assert row["data"] == "all" or positions
    if "weight" in row:
        assert set(row["weight"]) == {"input", "axis"}
        positions = [*positions, row["weight"]["input"]]
    if "recurrence" in row:
        assert set(row["recurrence"]) == {"input", "gates", "states"}
        positions = [*positions, row["recurrence"]["input"]]
        for source, last, steps in row["recurrence"]["states"]:
            assert source in row["data"]
            assert max(last, steps or 0) < len(schema.outputs)
    if "bias" in row:
        positions = [*positions, row["bias"]]
    assert len(set(positions)) == len(positions)
    for position in positions:
        assert is_input(schema, position)
        assert takes_float(schema, position)
    assert "tensor(float)" in schema.outputs[0].types
    if row["class"] in ("movement", "forward_tie"):
        assert len(row["data"]) == 1


def test_rows_are_sorted():
    assert list(table("ops")["ops"]) == sorted(table("ops")["ops"])


@pytest.mark.parametrize("name", TARGETS)
def test_target_tables_have_the_schema(name):
    row = table(name)
    assert set(row) == {
        "_source",
        "supergroups",
        "per_channel",
        "per_gate",
        "fixed_ranges",
        "float_ops",
        "dynamic_matmul_symmetric_second",
        "tie_concat_with_shared_inputs",
    }
    assert all(isinstance(line, str) for line in row["_source"])
    assert isinstance(row["dynamic_matmul_symmetric_second"], bool)
    assert isinstance(row["tie_concat_with_shared_inputs"], bool)


GROUPS = [(name, chain) for name in TARGETS for chain in load_target(name).supergroups]


@pytest.mark.parametrize(("name", "chain"), GROUPS)
def test_supergroup_row(name, chain):
    assert len(chain) >= 2
    assert all(op_type in OPS and OPS[op_type].op_class == "compute" for op_type in chain)
    assert load_target(name).supergroups.count(chain) == 1


@pytest.mark.parametrize("name", TARGETS)
def test_op_lists_name_known_ops(name):
    rules = load_target(name)
    assert rules.float_ops <= set(OPS)
    assert rules.per_channel <= {op for op, facts in OPS.items() if facts.weight_input is not None}


RANGES = [
    (name, op_type, bits, fixed)
    for name in TARGETS
    for (op_type, bits), fixed in load_target(name).fixed_ranges.items()
]


@pytest.mark.parametrize(("name", "op_type", "bits", "fixed"), RANGES)
def test_fixed_ranges_hold_what_the_op_gives(name, op_type, bits, fixed):
    scale, zero_point = fixed
    low, high = scale * (0 - zero_point), scale * (2**bits - 1 - zero_point)
    smallest = -1.0 if op_type == "Tanh" else 0.0
    assert bits in (8, 16)
    assert low <= smallest
    # Half a step of 1 is lost, as in TFLite.
    assert high >= 1 - 1.01 * scale
    if bits == 16:
        assert zero_point == 1 << 15


def test_both_widths_have_fixed_ranges():
    for name in TARGETS:
        ranges = load_target(name).fixed_ranges
        assert {op for op, bits in ranges if bits == 8} == {op for op, b in ranges if b == 16}


def test_the_option_offers_these_targets():
    assert option_table().of(JobKind.QUANTIZE)["quantize_target"].choices == TARGETS


def test_unknown_target():
    with pytest.raises(OptionError, match="'hexagon' is not a quantize target"):
        load_target("hexagon")
