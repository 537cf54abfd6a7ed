"""Q/DQ drawn into a float graph: of every type, granularity and spelling, well chosen or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from random_graphs.drawing import Array, Drawing, Role, assemble

__all__ = ["Encoding", "Output", "Quantized", "outputs_of", "quantize", "run_onnx"]

_TYPES = {
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
}
_MIXED = {"int8": "int16", "uint8": "int8", "int16": "int8", "uint16": "int16"}
# 16-bit Q and DQ came with it.
_WIDE = 21


@dataclass(frozen=True)
class Encoding:
    """A per-tensor grid of an ONNX integer type."""

    scale: float
    zero: int
    dtype: str

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and largest real."""
        info = np.iinfo(self.dtype)
        scale = float(np.float32(self.scale))
        return (int(info.min) - self.zero) * scale, (int(info.max) - self.zero) * scale

    def snap(self, values: Array) -> Array:
        """Return the nearest reals of the grid, as DequantizeLinear gives them."""
        info, scale = np.iinfo(self.dtype), np.float32(self.scale)
        integers = np.clip(np.rint(values / scale) + self.zero, info.min, info.max)
        return ((integers - self.zero).astype(np.float32) * scale).astype(np.float32)


@dataclass(frozen=True)
class Output:
    """An output of a model: its tensor, and the encoding of what makes it, if quantized."""

    name: str
    encoding: Encoding | None


@dataclass
class Quantized:
    """A QDQ model; ``encodings`` by the name of the integer tensor, ``inputs`` by input."""

    model: onnx.ModelProto
    outputs: list[Output]
    encodings: dict[str, Encoding]
    inputs: dict[str, Encoding | None]
    sample: dict[str, Array]


def run_onnx(model: onnx.ModelProto, sample: Mapping[str, Array]) -> dict[str, Array]:
    """Return all outputs by ONNX Runtime, no optimisation."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(sample)), strict=True))


def outputs_of(g: Drawing) -> list[str]:
    """Return every value that nobody reads, and some that others read, too."""
    made = [name for name in g.shapes if name not in g.inputs]
    share = g.one_of([0, 0, 30, 100])
    return [name for name in made if not g.readers(name) or g.chance(share)]


def quantize(g: Drawing) -> Quantized:
    """Draw the encodings of ``g`` and return the QDQ model and a sample on its inputs' grids."""
    return _Quantizer(g).run()


class _Quantizer:
    def __init__(self, g: Drawing) -> None:
        self.g = g
        wide = ["int16", "uint16"] if g.opset >= _WIDE else []
        self.dtype = g.one_of(["int8", "int8", "uint8", *wide])
        self.per_channel, self.weight_spelling = g.chance(50), g.one_of(["float", "integer"])
        # What every value is quantized by; usual models have all of them, and no odd ranges.
        self.is_usual = g.chance(50)
        self.constants: dict[str, Array] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.encodings: dict[str, Encoding] = {}
        self.pairs: dict[str, list[str]] = defaultdict(list)
        self.ranges: dict[str, tuple[float, float]] = {}
        self.exposed = outputs_of(g)
        self._sources: dict[str, str] = {}

    def run(self) -> Quantized:
        g = self.g
        sample = {
            name: (g.rng.standard_normal(shape) * g.one_of([1.0, 1.0, 0.1, 5.0])).astype(np.float32)
            for name, shape in g.inputs.items()
        }
        reached = run_onnx(g.model(list(g.shapes)[len(g.inputs) :]), sample) | sample
        self.ranges = {n: (float(v.min()), float(v.max())) for n, v in reached.items()}
        inputs: dict[str, Encoding | None] = {}
        for name in g.inputs:
            self._pairs_of(name, None)
            first = self.pairs[name][0] if self.pairs[name] else None
            inputs[name] = None if first is None else self._encoding_of(first)
        for node in g.nodes:
            self._node(node)
        sample = {n: v if (e := inputs[n]) is None else e.snap(v) for n, v in sample.items()}
        outputs = self._outputs()
        model = assemble(
            _live(self.nodes, {output.name for output in outputs}),
            {name: (TensorProto.FLOAT, shape) for name, shape in g.inputs.items()},
            {output.name: self._port(output) for output in outputs},
            self.constants,
            g.opset,
        )
        return Quantized(model, outputs, self.encodings, inputs, sample)

    # Activations

    def _node(self, node: onnx.NodeProto) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            copy.input[index] = self._read(name, node, copy.input[0])
        self.nodes.append(copy)
        source = next((n for n in node.input if n in self.g.shapes), None)
        for name in node.output:
            self._pairs_of(name, source)

    def _read(self, name: str, node: onnx.NodeProto, data: str) -> str:
        if name in self.g.constants:
            return self._constant(name, node, data)
        pairs = self.pairs.get(name)
        return self.g.one_of(pairs) if pairs else name

    def _pairs_of(self, name: str, source: str | None) -> None:
        g, readers = self.g, self.g.readers(name)
        if self._stays_float(name, readers):
            return
        encoding = self._drawn(name, source)
        quantized = self._quantizer(name, encoding)
        self._dequantizer(name, quantized)
        if len(readers) > 1 and g.chance(20):
            # Another DQ of the same integers, or another grid for some of the readers.
            if g.chance(50):
                self._dequantizer(name, quantized)
            else:
                self._dequantizer(name, self._quantizer(name, self._drawn(name, source)))

    def _stays_float(self, name: str, readers: list[onnx.NodeProto]) -> bool:
        in_front_of_clip = (
            len(readers) == 1
            and readers[0].op_type in ("Relu", "Clip")
            and name not in self.g.inputs
        )
        if in_front_of_clip:
            return self.g.chance(70)
        joined = len(readers) == 1 and readers[0].op_type == "Add" and _is_bias(self.g, readers[0])
        if joined:
            return self.g.chance(70)
        return not self.is_usual and self.g.chance(10)

    def _drawn(self, name: str, source: str | None) -> Encoding:
        g = self.g
        known = self._encoding_of(self.pairs[source][0]) if source and self.pairs[source] else None
        kinds = ["own"] * 5 + ["same"] * 3 + ["fixed"]
        if not self.is_usual:
            kinds += ["odd", "odd", *(["mixed"] if g.opset >= _WIDE else [])]
            kinds += ["asymmetric"] if "16" in self.dtype else []
        kind = g.one_of(kinds)
        if kind == "same" and known is not None:
            return known
        if kind == "fixed":
            return self._fixed()
        spread = 1.0
        if kind == "odd":
            spread = g.one_of([0.5, 2.0, 1 / 16, 16.0, 1 / 300, 300.0, 2.0**-14, 2.0**14])
        dtype = _MIXED[self.dtype] if kind == "mixed" else self.dtype
        encoding = self._ranged(name, spread, dtype)
        if kind == "asymmetric":
            return replace(encoding, zero=encoding.zero + g.one_of([1, -300, 20000]))
        return encoding

    def _fixed(self) -> Encoding:
        """Return what TFLite's kernels for Sigmoid and Softmax make."""
        if "16" in self.dtype:
            return Encoding(2.0**-15, 32768 if self.dtype == "uint16" else 0, self.dtype)
        return Encoding(2.0**-8, 0 if self.dtype == "uint8" else -128, self.dtype)

    def _ranged(self, name: str, spread: float, dtype: str) -> Encoding:
        low, high = (spread * end for end in self.ranges[name])
        low, high = min(low, 0.0), max(high, 0.0)
        info = np.iinfo(dtype)
        if "16" in dtype:
            scale = max(high, -low, 1e-3) / 32767
            return Encoding(float(np.float32(scale)), 32768 if dtype == "uint16" else 0, dtype)
        scale = max(high - low, 1e-3) / 255
        zero = int(np.clip(round(info.min - low / scale), info.min, info.max))
        return Encoding(float(np.float32(scale)), zero, dtype)

    def _quantizer(self, name: str, encoding: Encoding) -> str:
        result = f"{name}_q{len(self.encodings)}"
        self.encodings[result] = encoding
        self.constants[f"{result}_scale"] = np.float32(encoding.scale)
        self.constants[f"{result}_zero"] = np.asarray(encoding.zero, encoding.dtype)
        self._append("QuantizeLinear", name, result, result)
        return result

    def _dequantizer(self, name: str, quantized: str) -> None:
        result = f"{name}_dq{len(self._sources)}"
        self._sources[result] = quantized
        self._append("DequantizeLinear", quantized, result, quantized)
        self.pairs[name].append(result)

    def _append(self, op_type: str, source: str, result: str, key: str, **rest: Any) -> None:
        inputs = [source, f"{key}_scale", f"{key}_zero"]
        self.nodes.append(helper.make_node(op_type, inputs, [result], f"make_{result}", **rest))

    def _encoding_of(self, dequantized: str) -> Encoding:
        return self.encodings[self._sources[dequantized]]

    # Constants

    def _constant(self, name: str, node: onnx.NodeProto, data: str) -> str:
        constant = self.g.constants[name]
        if constant.role is Role.WEIGHT:
            return self._weight(name, constant.array, constant.axis)
        if constant.role is Role.BIAS:
            return self._bias(name, constant.array, node, data)
        if constant.role is Role.OPERAND and (self.is_usual or self.g.chance(80)):
            return self._operand(name, constant.array)
        self.constants[name] = constant.array
        return name

    def _weight(self, name: str, array: Array, axis: int) -> str:
        axes = tuple(a for a in range(array.ndim) if a != axis)
        largest = np.abs(array).max(axis=axes if self.per_channel else None)
        scale = np.maximum(largest / 127, 1e-6).astype(np.float32)
        result = f"{name}_dq"
        self.constants[f"{name}_scale"] = scale
        self.constants[f"{name}_zero"] = np.zeros(scale.shape, np.int8)
        spread = {"axis": axis} if self.per_channel else {}
        if self.weight_spelling == "float":
            self.constants[name] = array
            self._append("QuantizeLinear", name, f"{name}_q", name, **spread)
            self._append("DequantizeLinear", f"{name}_q", result, name, **spread)
            return result
        shape = [-1 if a == axis else 1 for a in range(array.ndim)] if self.per_channel else []
        integers = np.clip(np.rint(array / scale.reshape(shape)), -128, 127)
        self.constants[name] = integers.astype(np.int8)
        self._append("DequantizeLinear", name, result, name, **spread)
        return result

    def _bias(self, name: str, array: Array, node: onnx.NodeProto, data: str) -> str:
        step = self.constants.get(f"{node.input[1]}_scale")
        known = self._sources.get(data)
        if step is None or known is None or self.g.chance(60):
            self.constants[name] = array
            return name
        return self._integer_bias(name, array, step * np.float32(self.encodings[known].scale))

    def _integer_bias(self, name: str, array: Array, scale: Array) -> str:
        scale = np.asarray(scale, np.float32)
        if scale.ndim:
            # Groups of a ConvTranspose share the scales of its channels.
            scale = np.tile(scale, array.size // scale.size)
        self.constants[name] = np.rint(array / scale).clip(-(2**31), 2**31 - 1).astype(np.int32)
        self.constants[f"{name}_scale"] = scale
        self.constants[f"{name}_zero"] = np.zeros(scale.shape, np.int32)
        spread = {"axis": 0} if scale.ndim else {}
        self._append("DequantizeLinear", name, f"{name}_dq", name, **spread)
        return f"{name}_dq"

    def _operand(self, name: str, array: Array) -> str:
        low, high = min(0.0, float(array.min())), max(0.0, float(array.max()))
        self.ranges[name] = (low, high)
        self.constants[name] = array
        quantized = self._quantizer(name, self._ranged(name, 1.0, self.dtype))
        self._dequantizer(name, quantized)
        return self.pairs[name][-1]

    # Outputs

    def _outputs(self) -> list[Output]:
        outputs = []
        for name in self.exposed:
            pairs = self.pairs.get(name)
            if not pairs or (not self.is_usual and self.g.chance(10)):
                outputs.append(Output(name, None))
                continue
            chosen = self.g.one_of(pairs)
            outputs.append(Output(chosen, self._encoding_of(chosen)))
        if self.g.chance(10):
            # An input that is quantized and given back.
            for name in self.g.inputs:
                if self.pairs[name]:
                    chosen = self.pairs[name][0]
                    outputs.append(Output(chosen, self._encoding_of(chosen)))
        return outputs

    def _port(self, output: Output) -> tuple[int, tuple[int, ...]]:
        value = output.name.split("_")[0]
        return TensorProto.FLOAT, self.g.shapes[value]


def _live(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes on which an output depends."""
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _is_bias(g: Drawing, node: onnx.NodeProto) -> bool:
    return any(n in g.constants and g.constants[n].role is Role.BIAS for n in node.input)
