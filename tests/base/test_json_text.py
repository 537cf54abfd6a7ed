"""JSON text is always valid JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdq.base.json_text import json_text


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": (1, 2.5, None, True, "é")}, {"a": [1, 2.5, None, True, "é"]}),
        ([math.nan, math.inf, -math.inf], [None, None, None]),
        ({1: np.float32(0.5), 2: np.int64(7), 3: np.bool_(True)}, {"1": 0.5, "2": 7, "3": True}),
        (np.float64("nan"), None),
        (Path("a/b"), "a/b"),
        (frozenset({"x"}), ["x"]),
    ],
)
def test_values(value: Any, plain: Any) -> None:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    assert json.loads(json_text(value), parse_constant=refuse) == plain
