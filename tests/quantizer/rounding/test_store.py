"""Values in memory and in files come back as they were."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.rounding.store import ValueStore


@pytest.mark.parametrize("budget", [0, 1 << 20])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "uint8"])
def test_values_come_back(budget, dtype):
    rng = np.random.default_rng(0)
    arrays = [(rng.normal(size=(3, 5)) * 9).astype(dtype) for _ in range(4)]
    with ValueStore(4, budget=budget) as store:
        for i in (2, 0, 3, 1):
            store.put("a", i, arrays[i])
            store.put("scalar", i, np.asarray(i, dtype))
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(store.get("a", i), array)
            assert store.get("a", i).dtype == array.dtype
            assert store.get("scalar", i) == np.asarray(i, dtype)
        store.drop("a")
        store.put("a", 0, np.zeros(2, np.float32))
        assert store.get("a", 0).shape == (2,)


def test_a_dropped_name_frees_its_budget(monkeypatch):
    with ValueStore(2, budget=80) as store:
        store.put("a", 0, np.zeros(10, np.float32))
        store.drop("a")
        monkeypatch.setattr("tempfile.TemporaryFile", None)
        store.put("b", 0, np.zeros(10, np.float32))
        assert store.get("b", 0).shape == (10,)
