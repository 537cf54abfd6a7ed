"""int16 functions by table, swept over all their inputs: what the rows of the table stand on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qdq.target.tflite.verify import Kernels, OpCheck, Status, verify_tflite

Array = np.ndarray[Any, Any]
SWEEP = np.arange(-32768, 32768).astype(np.int16).reshape(64, 1024)


def checked(kit: SimpleNamespace, name: str, raw: Array, reach: float, **options: Any) -> OpCheck:
    """Return the check over ``raw``, whose largest value stands for ``reach``."""
    x = kit.Tensor("x", "int16", raw.shape, reach / 32768)
    output = ("auto",) if name in ("GELU", "EXP") else ("fixed", 1 / 32768, 0)
    single = kit.Single(name, [x], {"x": raw}, output, "int16", {"version": 2, **options})
    data = single.model(np.random.default_rng(0)).to_bytes()
    (check,) = verify_tflite(data, [{"x": raw}], kernels=[Kernels.BUILTIN]).checks
    return check


@pytest.mark.parametrize(
    ("name", "reach", "least"),
    [
        ("TANH", 0.5, 2),
        ("TANH", 7.999, 12),
        ("TANH", 8.0, 12),
        ("TANH", 16.0, 12),
        ("TANH", 64.0, 1),
        ("LOGISTIC", 4.0, 1),
        ("LOGISTIC", 7.999, 6),
        ("LOGISTIC", 8.0, 6),
        ("LOGISTIC", 64.0, 1),
        ("GELU", 2.0, 2),
        ("GELU", 64.0, 2),
        ("EXP", 1.0, 2),
        ("EXP", 8.0, 8),
    ],
)
def test_the_error_of_a_table_is_as_the_row_says(
    kit: SimpleNamespace, name: str, reach: float, least: int
) -> None:
    check = checked(kit, name, SWEEP, reach)
    assert check.status is Status.PASSED, check
    # No row allows for more than is there.
    assert check.max_error >= least


def test_an_exponential_over_a_wide_range_is_refused(kit: SimpleNamespace) -> None:
    check = checked(kit, "EXP", SWEEP, 64.0)
    assert check.status is Status.FAILED
    assert check.max_error > 100


@pytest.mark.parametrize(("length", "least"), [(10, 18), (100, 190), (1000, 1800)])
def test_softmax_counts_what_is_far_below_its_largest(
    kit: SimpleNamespace, length: int, least: int
) -> None:
    raw = np.full((1, length), -32767, np.int16)
    raw[0, 0] = 32767
    check = checked(kit, "SOFTMAX", raw, 16.0, beta=1.0)
    assert check.status is Status.PASSED, check
    assert check.max_error >= least


@pytest.mark.parametrize("reach", [1.0, 4.0, 16.0, 64.0])
def test_softmax_of_random_rows(kit: SimpleNamespace, reach: float) -> None:
    raw = np.random.default_rng(1).permutation(SWEEP.reshape(-1)).reshape(-1, 16)
    assert checked(kit, "SOFTMAX", raw, reach, beta=1.0).status is Status.PASSED


def test_a_kernel_that_stops_the_run_is_reported(kit: SimpleNamespace) -> None:
    # TFLite's int8 division ends the run at a divisor of zero.
    a, b, y = (kit.Tensor(name, "int8", (1, 8), 0.05) for name in "aby")
    data = kit.Model([a, b, y], [("DIV", ["a", "b"], ["y"], {"version": 2})], ["a", "b"], ["y"])
    zeros = {"a": np.ones((1, 8), np.int8), "b": np.zeros((1, 8), np.int8)}
    found = verify_tflite(data.to_bytes(), [zeros], kernels=[Kernels.BUILTIN])
    assert "cannot run" in found.refused["builtin"]
    assert found.failures
