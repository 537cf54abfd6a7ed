"""Small graphs through the TFLite target and LiteRT, beside ONNX Runtime without optimisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from qdq.graph import add_initializer, infer_shapes, raise_opset
from qdq.target.interface import InterfaceRequest
from qdq.target.tflite import TensorSpec, TfliteModel, compile_tflite

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Operator:
    """One operator of a file: its name, and its tensors as the schema's tables."""

    name: str
    version: int
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    options: Any

    @property
    def dtype(self) -> str:
        """The dtype of the first output."""
        return _type_name(self.outputs[0].type)


@dataclass(frozen=True)
class Lite:
    """A compiled model: what it is made of, and what it computes."""

    model: TfliteModel
    operators: tuple[Operator, ...]

    @property
    def names(self) -> list[str]:
        """``CONV_2D:INT8`` and so on, in order."""
        return [f"{operator.name}:{operator.dtype}" for operator in self.operators]

    def count(self, name: str) -> int:
        """How often a TFLite op occurs."""
        return sum(operator.name == name for operator in self.operators)

    def run(self, sample: Mapping[str, Array], *, delegate: bool = True) -> dict[str, Array]:
        """Return the outputs by name, from XNNPACK or from the builtin kernels."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = (
            OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        interpreter = Interpreter(
            model_content=self.model.data, num_threads=1, experimental_op_resolver_type=resolver
        )
        runner = interpreter.get_signature_runner("serving_default")
        return {name: np.array(array) for name, array in runner(**sample).items()}


def _type_name(number: int) -> str:
    from ai_edge_litert import schema_py_generated as schema

    return next(name for name, value in vars(schema.TensorType).items() if value == number)


def _operators(data: bytes) -> tuple[Operator, ...]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        found.append(
            Operator(
                names[code.builtinCode],
                code.version,
                tuple(None if i < 0 else graph.tensors[i] for i in operator.inputs),
                tuple(graph.tensors[i] for i in operator.outputs),
                operator.builtinOptions,
            )
        )
    return tuple(found)


@pytest.fixture
def lite() -> Callable[..., Lite]:
    """``lite(model, quantize_io=True, channels_last_inputs=...)``: compiled; ``model`` stays."""

    def compiled(model: ir.Model, **request: Any) -> Lite:
        made = compile_tflite(model.clone(), InterfaceRequest(**request))
        return Lite(made, _operators(made.data))

    return compiled


@pytest.fixture
def samples() -> Callable[..., list[dict[str, Array]]]:
    """``samples(model, count=4, low=None)``: standard normal inputs, the same each time."""

    def drawn(model: ir.Model, *, count: int = 4) -> list[dict[str, Array]]:
        random = np.random.default_rng(7)
        return [
            {
                str(value.name): random.standard_normal(tuple(value.shape or ())).astype(np.float32)
                for value in model.graph.inputs
            }
            for _ in range(count)
        ]

    return drawn


@pytest.fixture
def check_float(
    lite: Callable[..., Lite],
    run: Callable[..., dict[str, Array]],
    samples: Callable[..., list[dict[str, Array]]],
) -> Callable[..., Lite]:
    """``check_float(model)``: LiteRT agrees within 1e-5 of the maximum, on both kernel sets."""

    def checked(model: ir.Model, *, tolerance: float = 1e-5) -> Lite:
        made = lite(model)
        for sample in samples(model, count=2):
            wanted = run(model, sample)
            for delegate in (True, False):
                _compare_floats(made.run(sample, delegate=delegate), wanted, tolerance)
        return made

    return checked


def _compare_floats(
    found: Mapping[str, Array], wanted: Mapping[str, Array], tolerance: float
) -> None:
    assert list(found) == list(wanted) or set(found) == set(wanted)
    for name, reference in wanted.items():
        assert found[name].shape == reference.shape
        limit = tolerance * max(float(np.abs(reference).max()), 1e-6)
        assert float(np.abs(found[name] - reference).max()) <= limit, name


@pytest.fixture
def check_integer(
    lite: Callable[..., Lite],
    run: Callable[..., dict[str, Array]],
    samples: Callable[..., list[dict[str, Array]]],
    quantize: Callable[..., ir.Model],
) -> Callable[..., Lite]:
    """``check_integer(float_model, "int8", lsb=1)``: quantized, compiled, within ``lsb`` steps.

    ``options`` are the quantizer's; ``islands`` False asserts that nothing stays float.
    """

    def checked(
        model: ir.Model,
        activations: str,
        *,
        lsb: float = 1,
        options: str = "",
        islands: bool = False,
        given: Sequence[Mapping[str, Array]] | None = None,
    ) -> Lite:
        inputs = list(given) if given is not None else samples(model)
        text = f"--quantize_target tflite {options}"
        quantized = quantize(model, inputs, activations=activations, options=text)
        if all(node.op_type != "QuantizeLinear" for node in quantized.graph):
            # The quantizer leaves graphs alone that only move data.
            quantized = _bracketed(model.clone(), activations)
        return _check_quantized(lite, run, quantized, inputs, lsb=lsb, islands=islands)

    return checked


def _check_quantized(
    lite: Callable[..., Lite],
    run: Callable[..., dict[str, Array]],
    quantized: ir.Model,
    inputs: Sequence[Mapping[str, Array]],
    *,
    lsb: float,
    islands: bool,
) -> Lite:
    made = lite(quantized)
    assert bool(made.model.notices) == islands, made.model.notices
    edge = lite(quantized, quantize_io=True).model
    steps = {spec.name: spec.scale for spec in edge.output_spec}
    for drawn in inputs[:2]:
        # On the grid of the inputs, so that only the ops can round differently.
        sample = {spec.name: _snapped(drawn[spec.name], spec) for spec in edge.input_spec}
        wanted = run(quantized, sample)
        for delegate in (True, False):
            found = made.run(sample, delegate=delegate)
            for name, reference in wanted.items():
                scale = steps[name]
                assert scale is not None
                off = np.abs(found[name] - reference).max() / scale
                # 0.01: float32 rounding of the dequantized numbers.
                assert off <= lsb + 0.01, f"{name}: {off:.2f} LSB, XNNPACK {delegate}"
    return made


def _bracketed(model: ir.Model, dtype: str) -> ir.Model:
    """Put Q/DQ at each edge of a graph; inputs and outputs have different encodings."""
    graph = model.graph
    raise_opset(model, 21)
    step = {"int8": 0.03, "int16": 2.0**-12}[dtype]
    for value in graph.inputs:
        uses = list(value.uses())
        pair = _pair(graph, value, step, 3 if dtype == "int8" else 0, dtype)
        for node, index in uses:
            node.replace_input_with(index, pair)
    for index, value in enumerate(tuple(graph.outputs)):
        name = value.name
        value.name = f"{name}_raw"
        pair = _pair(graph, value, step * 0.75, -5 if dtype == "int8" else 0, dtype)
        pair.name, pair.shape, pair.type = name, value.shape, ir.TensorType(ir.DataType.FLOAT)
        graph.outputs[index] = pair
    graph.sort()
    infer_shapes(model)
    return model


def _pair(graph: ir.Graph, value: ir.Value, scale: float, zero: int, dtype: str) -> ir.Value:
    parameters = [
        add_initializer(graph, f"{value.name}_scale", np.asarray(scale, np.float32)),
        add_initializer(graph, f"{value.name}_zero", np.asarray(zero, dtype)),
    ]
    quantized = ir.Node("", "QuantizeLinear", [value, *parameters], name=f"q_{value.name}")
    quantized.outputs[0].name = f"{value.name}_q"
    back = ir.Node(
        "", "DequantizeLinear", [quantized.outputs[0], *parameters], name=f"dq_{value.name}"
    )
    back.outputs[0].name = f"{value.name}_dq"
    graph.extend([quantized, back])
    return back.outputs[0]


def _snapped(array: Array, spec: TensorSpec) -> Array:
    if spec.scale is None:
        return array
    info = np.iinfo(spec.dtype)
    integers = np.clip(np.rint(array / spec.scale) + spec.zero_point, info.min, info.max)
    return ((integers - spec.zero_point) * np.float32(spec.scale)).astype(np.float32)


@pytest.fixture
def check_qdq(
    lite: Callable[..., Lite], run: Callable[..., dict[str, Array]]
) -> Callable[..., Lite]:
    """``check_qdq(model, samples, lsb=1, islands=False)``: the same for a model with its Q/DQ."""

    def checked(
        model: ir.Model,
        given: Sequence[Mapping[str, Array]],
        *,
        lsb: float = 1,
        islands: bool = False,
    ) -> Lite:
        return _check_quantized(lite, run, model, given, lsb=lsb, islands=islands)

    return checked
