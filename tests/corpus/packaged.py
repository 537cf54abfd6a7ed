"""Models that packages ship as ONNX files, with their dynamic dimensions fixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

__all__ = ["PACKAGED", "Packaged", "write_fixed"]


@dataclass(frozen=True, slots=True)
class Packaged:
    """Where a model lies among the installed packages, and the shape its first input is given."""

    requirement: str
    file: str
    shape: tuple[int, ...]


_OCR = "rapidocr-onnxruntime==1.4.4"
PACKAGED = {
    "ppocr_cls": Packaged(
        _OCR,
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        (1, 3, 48, 192),
    ),
    "ppocr_det": Packaged(
        _OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", (1, 3, 640, 480)
    ),
    "ppocr_rec": Packaged(
        _OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 480)
    ),
    "silero": Packaged(
        "silero-vad==6.2.3", "silero_vad/data/silero_vad_openvino_16k.onnx", (1, 576)
    ),
    "basic_pitch": Packaged(
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        (1, 43844, 1),
    ),
}


def write_fixed(packaged: Packaged, site: Path, output: Path) -> None:
    """Write the model with its first input's shape fixed; nodes and weights stay as shipped."""
    model = onnx.load(site / packaged.file)
    _fix(model.graph.input[0], packaged.shape)
    # Shapes that the package noted down were inferred with the dynamic dimensions.
    del model.graph.value_info[:]
    for value, array in zip(model.graph.output, _outputs(model), strict=True):
        _fix(value, array.shape)
    onnx.checker.check_model(model)
    onnx.save(model, output)


def _fix(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for size in shape:
        dims.add().dim_value = size


def _outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    # The shapes are read off one run: shape inference does not see through every node here.
    options = ort.SessionOptions()
    options.log_severity_level = 3
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    session = ort.InferenceSession(model.SerializeToString(), options)
    inputs = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()}
    return session.run(None, inputs)
