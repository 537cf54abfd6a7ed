"""Small graphs in ONNX text, compiled with options, and judged by unoptimised ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from qdq.base.options import JobKind, parse_options
from qdq.graph import infer_shapes, model_from_proto
from qdq.runtime import open_session
from qdq.target.interface import CompileOutcome, compile_graph, read_request

Array = np.ndarray[Any, Any]


@pytest.fixture
def parse(tmp_path: Any) -> Callable[..., ir.Model]:
    """``parse(text, opset=21, **constants)``: a checked model; node ``make_y`` makes y."""

    def parsed(text: str, *, opset: int = 21, **constants: Array) -> ir.Model:
        proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
        proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
        for node in proto.graph.node:
            node.name = node.name or f"make_{node.output[0]}"
        onnx.checker.check_model(proto)
        model = model_from_proto(proto, folder=tmp_path)
        infer_shapes(model)
        return model

    return parsed


@pytest.fixture
def compiled() -> Callable[[ir.Model, str], CompileOutcome]:
    """``compiled(model, options)``: a copy compiled; compiling it again must change nothing."""

    def run(model: ir.Model, options: str) -> CompileOutcome:
        request = read_request(parse_options(JobKind.COMPILE, options))
        outcome = compile_graph(model.clone(), request)
        proto = ir.to_proto(outcome.model)
        onnx.checker.check_model(proto, full_check=True)
        again = compile_graph(ir.from_proto(proto), request)
        assert again.changes == ()
        assert ir.to_proto(again.model) == proto
        return outcome

    return run


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
def ops() -> Callable[[ir.Model], list[str]]:
    """``ops(model)``: the op types in graph order."""
    return lambda model: [node.op_type for node in model.graph]
