"""Tell what a model is, without running it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qdq.frontend import ModelFormat, detect_format, import_aimet
from qdq.library._inspect_qnn import describe_qnn
from qdq.library._inspect_tflite import describe_tflite
from qdq.library._io_spec import IoSpec, io_specs
from qdq.library._load import is_tflite_source, read_model
from qdq.library._sources import ModelSource, path_of
from qdq.library._summary import (
    Hazard,
    Quantization,
    TensorSummary,
    count_ops,
    count_parameters,
    describe_tensor,
    find_hazards,
    find_quantization,
)
from qdq.runtime.qnn.files import is_qnn

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What ``inspect`` found; ``parameters`` counts elements of weights and constants.

    ``input_spec`` and ``output_spec`` tell scale and zero point where the compiler noted them, and
    of TFLite and QNN always.  ``ir_version`` of a TFLite file is that of its schema; it has no
    opsets.  ``qnn`` is what a compiled QNN model tells of chip, graphs and SDK.
    """

    format: str
    producer: str
    ir_version: int
    opset: int | None
    opsets: dict[str, int]
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    input_spec: tuple[IoSpec, ...]
    output_spec: tuple[IoSpec, ...]
    ops: dict[str, int]
    parameters: int
    parameter_bytes: int
    quantization: Quantization
    hazards: tuple[Hazard, ...]
    qnn: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def inspect(model: ModelSource) -> Inspection:
    """Describe an ONNX model (a path or in memory), a TFLite file or a compiled QNN model.

    Dynamic dims are welcome.  QNN files are read by Qualcomm's library in a child process.
    Of an AIMET folder the float graph is described, and the encodings are checked.  Raises
    ModelCorruptError or ModelInvalidError for what cannot be read, UnsupportedError for another
    format, and MissingDependencyError for QNN without its extra.
    """
    path = path_of(model)
    if path is not None and is_qnn(path):
        return Inspection(**describe_qnn(path))
    if path is not None and is_tflite_source(path):
        return Inspection(**describe_tflite(path))
    is_aimet = path is not None and path.is_dir() and detect_format(path) is ModelFormat.AIMET
    graph_model = import_aimet(path).graph if path and is_aimet else read_model(model)
    graph = graph_model.graph
    inputs = [value for value in graph.inputs if not value.is_initializer()]
    parameters, parameter_bytes = count_parameters(graph_model)
    opsets = {domain or "ai.onnx": version for domain, version in graph.opset_imports.items()}
    return Inspection(
        format="aimet" if is_aimet else "onnx",
        producer=" ".join(
            part for part in (graph_model.producer_name, graph_model.producer_version) if part
        ),
        ir_version=graph_model.ir_version,
        opset=opsets.get("ai.onnx"),
        opsets=opsets,
        inputs=tuple(describe_tensor(value) for value in inputs),
        outputs=tuple(describe_tensor(value) for value in graph.outputs),
        input_spec=io_specs(graph_model, inputs),
        output_spec=io_specs(graph_model, graph.outputs),
        ops=count_ops(graph_model),
        parameters=parameters,
        parameter_bytes=parameter_bytes,
        quantization=find_quantization(graph_model),
        hazards=find_hazards(graph_model),
    )
