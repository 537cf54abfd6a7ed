"""Options of the interface, drawn; and samples and results brought from and to ONNX's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qdq.target.interface import InterfaceRequest
from qdq.target.tflite import TensorSpec, TfliteModel
from random_graphs.drawing import Array, Drawing, Shape
from random_graphs.encodings import Encoding, Output, Quantized

__all__ = ["check_specs", "draw_request", "results_of", "sample_for", "snapped"]

_WITH_CHANNELS = (3, 4, 5)


def draw_request(g: Drawing, outputs: Mapping[str, Shape], *, quantized: bool) -> InterfaceRequest:
    """Draw which edges are channels last, and whether callers exchange integers."""
    share = g.one_of([0, 0, 50, 100])

    def chosen(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
        return tuple(n for n, s in shapes.items() if len(s) in _WITH_CHANNELS and g.chance(share))

    io_type = g.one_of([None, None, "int8", "uint8"]) if quantized else None
    return InterfaceRequest(
        channels_last_inputs=chosen(g.inputs),
        channels_last_outputs=chosen(outputs),
        quantize_io=io_type is not None,
        quantize_io_type="uint8" if io_type == "uint8" else None,
    )


def sample_for(
    made: TfliteModel, request: InterfaceRequest, sample: Mapping[str, Array]
) -> dict[str, Array]:
    """Return a sample of the ONNX model as the file takes it."""
    return {
        spec.name: _edge(
            sample[spec.name],
            lambda array: np.moveaxis(array, 1, -1),
            spec.name in request.channels_last_inputs,
            lambda array, spec=spec: _quantized(array, spec),  # type: ignore[misc]
        )
        for spec in made.input_spec
    }


def snapped(made: TfliteModel, sample: Mapping[str, Array]) -> dict[str, Array]:
    """Return the reals that the file reads: on the grid of its integers, if it takes such."""
    return {
        spec.name: _dequantized(_quantized(sample[spec.name], spec), spec)
        for spec in made.input_spec
    }


def results_of(
    made: TfliteModel, request: InterfaceRequest, outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the file's outputs as the ONNX model gives them."""
    return {
        spec.name: _edge(
            outputs[spec.name],
            lambda array: np.moveaxis(array, -1, 1),
            spec.name in request.channels_last_outputs,
            lambda array, spec=spec: _dequantized(array, spec),  # type: ignore[misc]
        )
        for spec in made.output_spec
    }


def check_specs(made: TfliteModel, request: InterfaceRequest, quantized: Quantized) -> None:
    """Scale and zero point of every edge are the model's; what stays float is told."""
    told = " ".join(made.notices)
    inputs = [Output(name, encoding) for name, encoding in quantized.inputs.items()]
    for what, specs, ports in (
        ("input", made.input_spec, inputs),
        ("output", made.output_spec, quantized.outputs),
    ):
        for spec, port in zip(specs, ports, strict=True):
            if not request.quantize_io:
                assert (spec.dtype, spec.scale) == ("float32", None)
            elif spec.scale is None:
                assert f"{what} '{spec.name}' stays float" in told, spec
                # What has an encoding may stay float where it is computed in float only.
                assert port.encoding is None or spec.dtype == "float32"
            elif port.encoding is None:
                # Behind an op that the optimiser removes, the model does quantize it.
                assert any(_is_of(spec, e, request) for e in quantized.encodings.values())
            else:
                assert _is_of(spec, port.encoding, request), (spec, port)


def _is_of(spec: TensorSpec, encoding: Encoding, request: InterfaceRequest) -> bool:
    assert spec.zero_point is not None
    wide = "16" in encoding.dtype
    # The same distance from the smallest integer of its type.
    lowest = np.iinfo(encoding.dtype).min
    return (
        spec.scale == float(np.float32(encoding.scale))
        and spec.dtype == ("int16" if wide else request.quantize_io_type or "int8")
        and spec.zero_point - np.iinfo(spec.dtype).min == encoding.zero - lowest
    )


def _edge(
    array: Array, move: Callable[[Array], Array], moves: bool, convert: Callable[[Array], Array]
) -> Array:
    moved = move(array) if moves else array
    return np.ascontiguousarray(convert(moved))


def _quantized(array: Array, spec: TensorSpec) -> Array:
    if spec.scale is None:
        return array
    info: Any = np.iinfo(spec.dtype)
    integers = np.rint(array / np.float32(spec.scale)) + spec.zero_point
    return integers.clip(info.min, info.max).astype(spec.dtype)


def _dequantized(array: Array, spec: TensorSpec) -> Array:
    if spec.scale is None:
        return array
    return ((array.astype(np.int64) - spec.zero_point) * np.float32(spec.scale)).astype(np.float32)
