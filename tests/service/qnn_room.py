"""A workbench in which QNN is there, or is not, whatever this machine has installed."""

from __future__ import annotations

from typing import Any

import pytest

from qdq.base import qnn_package
from qdq.domain.records import Device, Job, Model, ModelType
from qdq.service.orders import CompileOrder, InferenceOrder, LinkOrder
from service.conftest import Room
from service.workbench_fakes import IMAGE

S23, S24 = Device("Samsung Galaxy S23"), Device("Samsung Galaxy S24")
S25, NO_FP16 = Device("Samsung Galaxy S25"), Device("QCS6490 (Proxy)")
BINARY = "--target_runtime qnn_context_binary"
FACTS = {
    "kind": "qnn_context_binary",
    "soc_model": 57,
    "chipset": "SM8650",
    "hexagon": "v75",
    "backend": "HTP",
    "graph_names": ["net"],
    "build_id": "v2.51.0.260929181845",
    "vtcm_mb": 8,
    "optimization_level": 2,
}
BIN_ANSWER: dict[str, Any] = {
    "format": "qnn_context_binary",
    "input_spec": [{**IMAGE, "dtype": "uint8", "scale": 0.5, "zero_point": 3}],
    "output_spec": [{"name": "y", "dtype": "float32", "shape": [1, 10]}],
    "qnn": FACTS,
}


def install(monkeypatch: pytest.MonkeyPatch, version: str | None = "2.7.0") -> None:
    """Make onnxruntime-qnn seem installed, or absent."""
    monkeypatch.setattr(qnn_package, "_platform_fits", lambda: True)
    monkeypatch.setattr(qnn_package, "provider_version", lambda: version)
    monkeypatch.setattr(qnn_package, "qairt_version", lambda: version and "2.51.0")


def compile_job(room: Room, options: str = BINARY, **fields: Any) -> Job:
    given = {"devices": [S24], **fields}
    if "model_id" not in given:
        given["model_id"] = room.add_model().id
    return room.workbench.submit.compile(CompileOrder(options=options, **given))


def inference_job(room: Room, model: Model, device: Device = S24, **fields: Any) -> Job:
    given = {"profiling": True, **fields}
    order = InferenceOrder(model_id=model.id, device=device, **given)
    return room.workbench.submit.inference(order)


def link_job(room: Room, models: list[Model], device: Device = S24, **fields: Any) -> Job:
    order = LinkOrder(model_ids=[it.id for it in models], device=device, **fields)
    return room.workbench.submit.link(order)


def target_of(room: Room, job: Job) -> Model:
    model = room.repository.models[job.target_model_id or ""]
    assert isinstance(model, Model)
    return model


def uploaded(room: Room, kind: ModelType = ModelType.QNN_CONTEXT_BINARY, **answer: Any) -> Model:
    room.stages.answers["inspect_model"] = {**BIN_ANSWER, **answer}
    return room.add_model(kind)
