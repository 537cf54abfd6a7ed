"""QDQ graphs in ONNX text, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.graph import infer_shapes
from qdq.quantizer import quantize_model
from qdq.runtime import open_session

Array = np.ndarray[Any, Any]


@pytest.fixture
def parse() -> Callable[..., ir.Model]:
    """``parse(text, opset=13, **constants)``: a model with shapes; node ``make_y`` makes y."""

    def parsed(text: str, *, opset: int = 13, **constants: Array) -> ir.Model:
        proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
        proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
        for node in proto.graph.node:
            node.name = f"make_{node.output[0]}"
        model = ir.from_proto(proto)
        infer_shapes(model)
        return model

    return parsed


@pytest.fixture
def run() -> Callable[..., dict[str, Array]]:
    """``run(model, sample, optimize=False)``: the outputs by ONNX Runtime."""

    def outputs(
        model: ir.Model, sample: Mapping[str, Array], *, optimize: bool = False
    ) -> dict[str, Array]:
        with open_session(model, optimize=optimize, threads=1) as session:
            return session.run(sample)

    return outputs


@pytest.fixture
def quantize() -> Callable[..., ir.Model]:
    """``quantize(model, samples, activations="int8", options="")``: the QDQ model."""

    def quantized(
        model: ir.Model,
        samples: Sequence[Mapping[str, Array]],
        *,
        activations: str = "int8",
        options: str = "",
    ) -> ir.Model:
        names = samples[0].keys()
        with open_samples({name: [s[name] for s in samples] for name in names}) as opened:
            return quantize_model(
                model.clone(),
                opened,
                activations=activations,
                options=parse_options(JobKind.QUANTIZE, options),
            ).model

    return quantized


@pytest.fixture
def kernels(tmp_path: Path) -> Callable[[ir.Model], Counter[str]]:
    """``kernels(model)``: how often each op occurs after ONNX Runtime's own optimisation."""

    def counted(model: ir.Model) -> Counter[str]:
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 4
        proto = ir.to_proto(model).SerializeToString()
        ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath)
        return Counter(node.op_type for node in optimized.graph.node)

    return counted
