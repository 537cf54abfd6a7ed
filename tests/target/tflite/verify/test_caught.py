"""Kernels that are silently wrong, models that are not what they should be: all are caught."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qdq.base.errors import VerificationError
from qdq.target.tflite.verify import (
    Kernels,
    Status,
    Verification,
    check_ops,
    read_tflite,
    run_tflite,
    verify_tflite,
)

Array = np.ndarray[Any, Any]
POOL = {"strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2, "version": 2}


def moved(name: str, dtype: str, options: dict[str, Any]) -> Callable[[SimpleNamespace], Any]:
    """An operator whose output's scale differs from its input's, which its kernel ignores."""

    def make(kit: SimpleNamespace) -> Any:
        shape = (1, 3, 3, 2) if "POOL" in name else (1, 8, 4) if name == "RESHAPE" else (1, 4, 4, 2)
        x = kit.Tensor("x", dtype, (1, 4, 4, 2), 0.01)
        y = kit.Tensor("y", dtype, shape, 0.02)
        sizes = [kit.Tensor("s", "int32", (3,), data=np.array([1, 8, 4], np.int32))]
        sizes = sizes if name == "RESHAPE" else []
        op = (name, ["x", *(s.name for s in sizes)], ["y"], dict(options))
        return kit.Model([x, y, *sizes], [op], ["x"], ["y"])

    return make


def concat_int16(kit: SimpleNamespace) -> Any:
    tensors = [
        kit.Tensor("a", "int16", (1, 4), 0.01),
        kit.Tensor("b", "int16", (1, 4), 0.02),
        kit.Tensor("y", "int16", (1, 8), 0.01),
    ]
    op = ("CONCATENATION", ["a", "b"], ["y"], {"axis": 1, "version": 3})
    return kit.Model(tensors, [op], ["a", "b"], ["y"])


def conv_int16_with_int32_bias(kit: SimpleNamespace) -> Any:
    weight = np.ones((4, 1, 1, 4), np.int8)
    bias = np.arange(4, dtype=np.int32) * 1000
    tensors = [
        kit.Tensor("x", "int16", (1, 4, 4, 4), 0.001),
        kit.Tensor("w", "int8", weight.shape, [0.01] * 4, data=weight),
        kit.Tensor("b", "int32", (4,), [1e-5] * 4, data=bias),
        kit.Tensor("y", "int16", (1, 4, 4, 4), 0.002),
    ]
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "version": 4}
    return kit.Model(tensors, [("CONV_2D", ["x", "w", "b"], ["y"], options)], ["x"], ["y"])


def neg_int8(kit: SimpleNamespace) -> Any:
    x, y = (kit.Tensor(name, "int8", (1, 8), 0.05, 7) for name in "xy")
    return kit.Model([x, y], [("NEG", ["x"], ["y"], {})], ["x"], ["y"])


def add_to_a_tiny_scale(kit: SimpleNamespace) -> Any:
    a, b = (kit.Tensor(name, "int8", (1, 64), 0.05, 40) for name in "ab")
    y = kit.Tensor("y", "int8", (1, 64), 4e-6, -128)
    op = ("ADD", ["a", "b"], ["y"], {"version": 2, "fusedActivationFunction": 1})
    return kit.Model([a, b, y], [op], ["a", "b"], ["y"])


def resize_int16_by_three(kit: SimpleNamespace) -> Any:
    x, y = (kit.Tensor(n, "int16", (1, s, s, 1), 0.01) for n, s in (("x", 20), ("y", 60)))
    size = kit.Tensor("s", "int32", (2,), data=np.array([60, 60], np.int32))
    op = ("RESIZE_BILINEAR", ["x", "s"], ["y"], {"halfPixelCenters": True, "version": 4})
    return kit.Model([x, y, size], [op], ["x"], ["y"])


WRONG: dict[str, Callable[[SimpleNamespace], Any]] = {
    "reshape": moved("RESHAPE", "int8", {}),
    "average pool": moved("AVERAGE_POOL_2D", "int8", {**POOL, "padding": 1}),
    "max pool": moved("MAX_POOL_2D", "int8", {**POOL, "padding": 1}),
    "max pool int16": moved("MAX_POOL_2D", "int16", {**POOL, "padding": 1, "version": 3}),
    "concat": concat_int16,
    "conv": conv_int16_with_int32_bias,
    "neg": neg_int8,
    "resize": resize_int16_by_three,
    "add": add_to_a_tiny_scale,
}


@pytest.mark.parametrize("case", WRONG)
def test_a_silently_wrong_kernel_is_caught(kit: SimpleNamespace, case: str) -> None:
    found = verify_tflite(WRONG[case](kit).to_bytes(), kernels=[Kernels.BUILTIN])
    assert [check.status for check in found.checks] == [Status.FAILED]
    # XNNPACK at least says so.
    assert found.refused.keys() == ({"deployed"} if case == "max pool" else set())
    with pytest.raises(VerificationError, match=found.checks[0].name):
        found.require()


def convolution(kit: SimpleNamespace, *, weight: Array | None = None) -> Any:
    """A convolution, a maximum pool and an addition, all of them right."""
    rng = np.random.default_rng(3)
    made = rng.integers(-100, 100, (4, 3, 3, 2)).astype(np.int8)
    tensors = [
        kit.Tensor("x", "int8", (1, 8, 8, 2), 0.02, 3),
        kit.Tensor("w", "int8", made.shape, [0.01] * 4, data=made if weight is None else weight),
        kit.Tensor("b", "int32", (4,), [2e-4] * 4, data=np.array([5, -900, 70, 3000], np.int32)),
        kit.Tensor("c", "int8", (1, 8, 8, 4), 0.05, -4),
        kit.Tensor("p", "int8", (1, 4, 4, 4), 0.05, -4),
        kit.Tensor("y", "int8", (1, 4, 4, 4), 0.1, 8),
    ]
    conv = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "version": 3}
    pool = {**POOL, "strideH": 2, "strideW": 2}
    ops = [
        ("CONV_2D", ["x", "w", "b"], ["c"], conv),
        ("MAX_POOL_2D", ["c"], ["p"], pool),
        ("ADD", ["p", "p"], ["y"], {"version": 2}),
    ]
    return kit.Model(tensors, ops, ["x"], ["y"])


def test_every_operator_of_a_chain_is_checked_with_both_kernels(kit: SimpleNamespace) -> None:
    found = verify_tflite(convolution(kit).to_bytes()).require()
    assert [(check.index, check.kernels) for check in found.checks] == [
        (index, kernels) for index in range(3) for kernels in ("builtin", "xnnpack")
    ]
    assert all(check.status is Status.PASSED for check in found.checks)
    assert all(check.max_error <= 1 and check.elements > 0 for check in found.checks)
    assert "Verified 6 integer results of 3 operators: 0 out of" in found.summary_lines()[0]


def test_a_flipped_weight_is_caught(kit: SimpleNamespace) -> None:
    good = convolution(kit)
    weight = good.tensors[1].data.copy()
    weight[2, 1, 1, 0] ^= 0x40
    run = run_tflite(convolution(kit, weight=weight).to_bytes(), Kernels.BUILTIN)
    run.invoke({0: np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 2)).astype(np.int8)})
    checks = list(check_ops(read_tflite(good.to_bytes()), run.tensor, frozenset()))
    # Fed with TFLite's own inputs, the later ones are right again.
    assert [check.status for check in checks] == [Status.FAILED, Status.PASSED, Status.PASSED]
    assert checks[0].max_error > 1
    assert 0 < checks[0].share_off <= 0.25


def test_a_model_that_the_runtime_refuses(kit: SimpleNamespace) -> None:
    x = kit.Tensor("x", "int8", (1, 8), 0.05)
    y = kit.Tensor("y", "int8", (1, 8), 0.05)
    data = kit.Model([x, y], [("SOFTMAX", ["x"], ["y"], {"beta": 1.0, "version": 2})], ["x"], ["y"])
    found = verify_tflite(data.to_bytes())
    assert found.refused.keys() == {"xnnpack", "builtin", "deployed"}
    assert len(found.failures) == 3
    with pytest.raises(VerificationError, match="refuses the model"):
        found.require()


def test_an_operator_without_a_reference_is_not_counted_as_passed(kit: SimpleNamespace) -> None:
    x, y = (kit.Tensor(name, "float32", (1, 4, 4, 2)) for name in "xy")
    data = kit.Model([x, y], [("L2_NORMALIZATION", ["x"], ["y"], {})], ["x"], ["y"]).to_bytes()
    found = verify_tflite(data).require()
    assert {check.status for check in found.checks} == {Status.UNCHECKED}
    assert found.unchecked == found.checks
    assert found.summary_lines() == [
        "Not checked: 1 results of L2_NORMALIZATION: it has no reference"
    ]


def test_a_hybrid_kernel_is_not_judged(kit: SimpleNamespace) -> None:
    weight = np.full((3, 8), 17, np.int8)
    tensors = [
        kit.Tensor("x", "float32", (1, 8)),
        kit.Tensor("w", "int8", (3, 8), [0.01], data=weight),
        kit.Tensor("y", "float32", (1, 3)),
    ]
    op = ("FULLY_CONNECTED", ["x", "w", ""], ["y"], {"version": 5})
    found = verify_tflite(kit.Model(tensors, [op], ["x"], ["y"]).to_bytes())
    assert {check.status for check in found.checks} == {Status.UNCHECKED}
    assert "hybrid" in found.checks[0].reason


def test_the_result_as_json(kit: SimpleNamespace) -> None:
    found = verify_tflite(convolution(kit).to_bytes())
    assert isinstance(found, Verification)
    text = found.to_dict()
    assert text["passed"]
    assert text["ops"][0] | {"share_off": 0, "max_error": 0} == {
        "index": 0,
        "name": "CONV_2D",
        "tensor": "c",
        "dtype": "int8",
        "kernels": "builtin",
        "status": "passed",
        "unit": "lsb",
        "max_error": 0,
        "tolerance": 1.0,
        "share_off": 0,
        "elements": 256,
        "reason": "",
    }


@pytest.mark.parametrize(
    ("dtype", "scale"), [("int8", [0.1]), ("int8", [0.1, 0.2, 0.3]), ("float16", None)]
)
def test_constants_that_xnnpack_dequantizes_ahead(
    kit: SimpleNamespace, dtype: str, scale: list[float] | None
) -> None:
    weight = np.arange(-12, 12).astype(dtype).reshape(3, 8)
    tensors = [
        kit.Tensor("x", "float32", (1, 8)),
        kit.Tensor("w", dtype, (3, 8), scale, data=weight),
        kit.Tensor("f", "float32", (3, 8)),
        kit.Tensor("y", "float32", (1, 3)),
    ]
    ops = [
        ("DEQUANTIZE", ["w"], ["f"], {"version": 5}),
        ("FULLY_CONNECTED", ["x", "f", ""], ["y"], {"version": 1}),
    ]
    found = verify_tflite(kit.Model(tensors, ops, ["x"], ["y"]).to_bytes()).require()
    assert {(check.name, check.kernels): check.status for check in found.checks} == {
        ("DEQUANTIZE", "xnnpack"): Status.UNCHECKED,
        ("DEQUANTIZE", "builtin"): Status.PASSED,
        ("FULLY_CONNECTED", "xnnpack"): Status.PASSED,
        ("FULLY_CONNECTED", "builtin"): Status.PASSED,
    }


def test_weights_of_four_bits(kit: SimpleNamespace) -> None:
    weight = np.random.default_rng(2).integers(-8, 8, (4, 3, 3, 2)).astype(np.int8)
    good = convolution(kit, weight=weight)
    raw = weight.reshape(-1).view(np.uint8) & 15
    good.tensors[1].dtype, good.tensors[1].data = "int4", raw[0::2] | (raw[1::2] << 4)
    good.ops[0][3]["version"] = 7
    found = verify_tflite(good.to_bytes(), kernels=[Kernels.BUILTIN]).require()
    assert [check.status for check in found.checks] == [Status.PASSED] * 3
