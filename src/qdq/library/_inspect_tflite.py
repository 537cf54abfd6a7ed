"""Tell what a ``.tflite`` file is, without LiteRT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from qdq.library._io_spec import IoSpec
from qdq.library._summary import Hazard, Quantization, TensorSummary, list_some, precision_of
from qdq.runtime.litert.model_file import TfliteFile, TfliteTensor, read_tflite

__all__ = ["describe_tflite", "tflite_specs"]

_LONGEST_PRODUCER = 200
_INTEGERS = ("int2", "int4", "uint4", "int8", "uint8", "int16", "uint16")


def describe_tflite(path: Path) -> dict[str, Any]:
    """Return the fields of ``Inspection`` for the file at ``path``.

    Raises ModelCorruptError, ModelInvalidError or UnsupportedError, as ``read_tflite`` does.
    """
    model = read_tflite(path)
    inputs, outputs = tflite_specs(model), tflite_specs(model, outputs=True)
    constants = [it for graph in model.graphs for it in graph.tensors if it.constant]
    return {
        "format": "tflite",
        "producer": " ".join(model.description.split())[:_LONGEST_PRODUCER],
        "ir_version": model.version,
        "opset": None,
        "opsets": {},
        "inputs": tuple(map(_summary, inputs)),
        "outputs": tuple(map(_summary, outputs)),
        "input_spec": inputs,
        "output_spec": outputs,
        "ops": _ops(model),
        "parameters": sum(_elements(it) for it in constants),
        "parameter_bytes": sum(it.nbytes for it in constants),
        "quantization": _quantization(model),
        "hazards": _hazards(model),
    }


def tflite_specs(model: TfliteFile, *, outputs: bool = False) -> tuple[IoSpec, ...]:
    """Return inputs or outputs, with scale and zero point where they are integers."""
    indexes = model.main.outputs if outputs else model.main.inputs
    specs = []
    for name, index in zip(model.edge_names(outputs=outputs), indexes, strict=True):
        it = model.main.tensors[index]
        encoded = it.dtype in _INTEGERS
        specs.append(
            IoSpec(
                name,
                it.dtype,
                it.shape,
                it.scale if encoded else None,
                it.zero_point if encoded else None,
            )
        )
    return tuple(specs)


def _summary(spec: IoSpec) -> TensorSummary:
    return TensorSummary(spec.name, spec.dtype, spec.shape)


def _ops(model: TfliteFile) -> dict[str, int]:
    ops = Counter(op.op_type for graph in model.graphs for op in graph.ops)
    return dict(sorted(ops.items(), key=lambda item: (-item[1], item[0])))


def _elements(tensor: TfliteTensor) -> int:
    count = 1
    for dim in tensor.stored_shape:
        count *= dim
    return count


def _quantization(model: TfliteFile) -> Quantization:
    ops = _ops(model)
    tensors = [it for graph in model.graphs for it in graph.tensors if it.scales]
    weights = Counter(it.dtype for it in tensors if it.constant)
    activations = Counter(it.dtype for it in tensors if not it.constant)
    told = dict(sorted(weights.items())), dict(sorted(activations.items()))
    return Quantization(
        quantize_nodes=ops.get("QUANTIZE", 0),
        dequantize_nodes=ops.get("DEQUANTIZE", 0),
        weights=told[0],
        activations=told[1],
        precision=precision_of(_narrow(told[0]), _narrow(told[1])),
    )


def _narrow(counts: dict[str, int]) -> dict[str, int]:
    # Biases are int32 and int64.
    return {name: count for name, count in counts.items() if name in _INTEGERS}


def _hazards(model: TfliteFile) -> tuple[Hazard, ...]:
    custom = [op.op_type for graph in model.graphs for op in graph.ops if op.custom]
    found: dict[str, Iterable[str]] = {
        "dynamic_dims": _dynamic(model),
        "subgraphs": (f"'{graph.name}'" for graph in model.graphs[1:]),
        "flex_ops": dict.fromkeys(name for name in custom if name.startswith("Flex")),
        "custom_ops": dict.fromkeys(name for name in custom if not name.startswith("Flex")),
    }
    told = ((kind, list_some(items)) for kind, items in found.items())
    return tuple(Hazard(kind, detail) for kind, detail in told if detail)


def _dynamic(model: TfliteFile) -> Iterator[str]:
    for spec in (*tflite_specs(model), *tflite_specs(model, outputs=True)):
        if spec.shape is not None and None in spec.shape:
            yield f"'{spec.name}'"
