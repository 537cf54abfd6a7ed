"""ONNX's own node tests: the list is fixed, each does what the table says, none is wrong."""

from __future__ import annotations

import onnx
import pytest

from onnx_nodes.execute import WRONG, outcomes
from onnx_nodes.select import DTYPES, all_modules, cases_of, dtypes_of, ops_of
from onnx_nodes.table import DOCUMENT, Row, document, fault, read_table

VERSION, TABLE = read_table()
# onnx computes the expected outputs of these in Python loops, which takes seconds.
HEAVY = ("averagepool", "maxpool")
MODULES = sorted({row.module for row in TABLE.values()} - set(HEAVY))
BATCHES = [
    *(pytest.param([module], marks=pytest.mark.medium) for module in HEAVY),
    MODULES[::2],
    MODULES[1::2],
]


@pytest.mark.medium
def test_the_table_has_exactly_the_tests_that_the_rule_selects() -> None:
    assert onnx.__version__ == VERSION, "write the table anew: cd tests && python -m onnx_nodes"

    selected = {
        case.name: (module, ops_of(case), dtypes_of(case) <= DTYPES)
        for module, case in cases_of(all_modules())
    }

    assert {name: (r.module, r.ops, r.has_dtypes) for name, r in TABLE.items()} == selected


def test_nine_in_ten_pass() -> None:
    known = [row for row in TABLE.values() if row.has_dtypes]

    assert len(known) >= 380
    assert sum(not row.refused for row in known) >= 0.9 * len(known)


@pytest.mark.parametrize("modules", BATCHES, ids=lambda modules: modules[0])
def test_each_does_what_the_table_says(modules: list[str]) -> None:
    expected = {name: row for name, row in TABLE.items() if row.module in modules}

    found = outcomes(modules)

    assert found.keys() == expected.keys()
    faults = {name: fault(expected[name], outcome) for name, outcome in found.items()}
    assert not {name: why for name, why in faults.items() if why}


def test_a_native_abort_is_one_wrong_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child dies at test_relu; what stands before and behind it in the list still counts."""
    monkeypatch.setenv("QDQ_TEST_ABORT_AT", "test_relu")

    found = outcomes(["leakyrelu", "relu", "sigmoid"])

    assert found["test_relu"].status == WRONG
    assert fault(Row("relu", "Relu", has_dtypes=True), found["test_relu"])
    others = {name for name, outcome in found.items() if outcome.status != WRONG}
    assert {"test_leakyrelu", "test_sigmoid"} <= others


def test_the_document_is_what_the_table_says() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(VERSION, TABLE)
