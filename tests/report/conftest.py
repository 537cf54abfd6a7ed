"""A small network, quantized with figures, and its page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.graph import infer_shapes
from qdq.quantizer import Quantized, quantize_model

TEXT = """<ir_version: 10, opset_import: ["" : 13]> g (float[1,3,12,12] x) => (float y, float z) {
    c = Conv <pads = [1,1,1,1]> (x, w, b)  r = Relu (c)  p = GlobalAveragePool (r)
    f = Flatten (p)  y = Gemm <transB = 1> (f, v, u)  z = Sigmoid (f) }"""


@pytest.fixture(scope="session")
def quantized() -> Callable[..., Quantized]:
    """``quantized(names={}, figures=True, options="", activations="int8")``: quantized under other
    names, which map names of the network (x, c, r, p, f, y, z, w, v) to others."""

    def make(
        *,
        names: dict[str, str] | None = None,
        figures: bool = True,
        options: str = "",
        activations: str = "int8",
        count: int = 10,
    ) -> Quantized:
        rng = np.random.default_rng(2)
        proto = onnx.parser.parse_model(TEXT)
        shapes = {"w": (8, 3, 3, 3), "b": (8,), "v": (5, 8), "u": (5,)}
        for name, shape in shapes.items():
            values = rng.normal(0, 0.3, shape).astype(np.float32)
            proto.graph.initializer.append(numpy_helper.from_array(values, name))
        model = ir.from_proto(proto)
        infer_shapes(model)
        _rename(model, names or {})
        images = rng.normal(size=(count, 1, 3, 12, 12)).astype(np.float32)
        with open_samples({"x": list(images)}) as samples:
            return quantize_model(
                model,
                samples,
                activations=activations,
                options=parse_options(JobKind.QUANTIZE, options),
                figures=figures,
            )

    return make


def _rename(model: ir.Model, names: dict[str, str]) -> None:
    graph = model.graph
    values = [v for node in graph for v in node.outputs] + list(graph.initializers.values())
    for value in values:
        if value.name in names:
            value.name = names[value.name]
    for node in graph:
        node.name = names.get("node", "n") + (node.outputs[0].name or "")
