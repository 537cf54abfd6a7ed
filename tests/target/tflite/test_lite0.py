"""EfficientNet-Lite0: every op integer, every scale the same, one transpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdq.graph import constant_array, load_model

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def path() -> Path:
    found = sorted((Path(__file__).parents[3] / ".cache" / "corpus").glob("effnet_lite0-*.onnx"))
    if not found:
        pytest.skip("the corpus is not there")
    return found[0]


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_quantized(
    dtype: str, path: Path, quantize: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    sample = {"input": np.random.default_rng(0).uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)}
    model = quantize(
        load_model(path), [sample], activations=dtype, options="--quantize_target tflite"
    )

    made = lite(model)

    assert made.model.notices == ()
    counts = Counter(made.names)
    kind = dtype.upper()
    assert counts == {
        f"QUANTIZE:{kind}": 1,
        f"TRANSPOSE:{kind}": 1,
        f"CONV_2D:{kind}": 33,
        f"DEPTHWISE_CONV_2D:{kind}": 16,
        f"ADD:{kind}": 9,
        f"MEAN:{kind}": 1,
        f"RESHAPE:{kind}": 1,
        f"FULLY_CONNECTED:{kind}": 1,
        "DEQUANTIZE:FLOAT32": 1,
    }
    assert _scales_of(model) <= _scales_in(made)
    assert lite(model, channels_last_inputs=("input",)).count("TRANSPOSE") == 0


def test_float(path: Path, check_float: Callable[..., Any]) -> None:
    made = check_float(load_model(path))

    assert made.count("TRANSPOSE") == 1
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD"} <= {o.name for o in made.operators}


def _scales_of(model: Any) -> set[bytes]:
    scales = {
        np.asarray(constant_array(node.inputs[1]), np.float32).reshape(-1).tobytes()
        for node in model.graph
        if node.op_type == "QuantizeLinear"
    }
    assert len(scales) > 80
    return scales


def _scales_in(made: Any) -> set[bytes]:
    return {
        np.asarray(tensor.quantization.scale, np.float32).tobytes()
        for operator in made.operators
        for tensor in (*operator.inputs, *operator.outputs)
        if tensor is not None
        and tensor.quantization is not None
        and tensor.quantization.scale is not None
    }
