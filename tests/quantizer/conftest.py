"""Small graphs in ONNX text, and what the tests do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.graph import infer_shapes
from qdq.quantizer import Quantized, quantize_model
from qdq.quantizer.overrides import NO_OVERRIDES, Overrides
from qdq.quantizer.placement import Placement
from qdq.quantizer.rules import load_target
from qdq.quantizer.sites import place_sites
from qdq.runtime import open_session

Array = np.ndarray[Any, Any]
Samples = Sequence[Mapping[str, Array]]


def _parse(text: str, *, opset: int = 13, **constants: Array) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    for node in proto.graph.node:
        node.name = f"make_{node.output[0]}"
    model = ir.from_proto(proto)
    infer_shapes(model)
    return model


@pytest.fixture
def parse() -> Callable[..., ir.Model]:
    """``parse(text, opset=13, **constants)``: a model with shapes; node ``make_y`` makes y."""
    return _parse


@pytest.fixture
def place() -> Callable[..., Placement]:
    """``place(model, target="portable", bits=8)``: the placement."""

    def placed(model: ir.Model, *, target: str = "portable", bits: int = 8) -> Placement:
        return place_sites(model.graph, load_target(target), activation_bits=bits)

    return placed


@pytest.fixture
def quantize() -> Callable[..., Quantized]:
    """``quantize(model, samples, weights=, activations=, options=)``; the model is not used up."""

    def quantized(
        model: ir.Model,
        samples: Samples,
        *,
        weights: str = "int8",
        activations: str = "int8",
        options: str = "",
        overrides: Overrides = NO_OVERRIDES,
    ) -> Quantized:
        names = samples[0].keys()
        source = {name: [sample[name] for sample in samples] for name in names}
        with open_samples(source) as opened:
            return quantize_model(
                model.clone(),
                opened,
                weights=weights,
                activations=activations,
                options=parse_options(JobKind.QUANTIZE, options),
                overrides=overrides,
            )

    return quantized


@pytest.fixture
def run() -> Callable[..., dict[str, Array]]:
    """``run(model, sample, optimize=False)``: the outputs by ONNX Runtime."""

    def outputs(
        model: ir.Model, sample: Mapping[str, Array], *, optimize: bool = False
    ) -> dict[str, Array]:
        with open_session(model, optimize=optimize, threads=1) as session:
            return session.run(sample)

    return outputs
