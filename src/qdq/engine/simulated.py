"""The stages of a job on a device that the HTP simulator stands in for."""

from __future__ import annotations

from typing import Any

from qdq.base.errors import ModelInvalidError, SpecError
from qdq.domain.qnn import QNN_RUNTIMES, qnn_facts
from qdq.domain.records import Job, Model, ModelType
from qdq.domain.states import JobKind
from qdq.engine.planned import PlannedStage, states_on_device
from qdq.ports.device_host import DeviceHost
from qdq.ports.repository import Repository
from qdq.service.qnn import (
    check_chip,
    choose_graph,
    origin_of,
    require_sources,
    runtime_of,
    sources_of,
)

__all__ = ["simulated"]


def simulated(
    job: Job,
    model: Model,
    inputs: tuple[tuple[str, str], ...],
    host: DeviceHost,
    repository: Repository,
) -> tuple[PlannedStage, ...]:
    """Return running, where there are data, and telling the placement, where a profile is wanted.

    Both get the retained ONNX model where the simulator cannot take the model itself.  Neither
    measures.  Raises SpecError for a model that is for another chip or another runtime,
    UnsupportedError for a foreign DLC.
    """
    runtime = runtime_of(model, repository)
    if runtime not in QNN_RUNTIMES:
        raise SpecError(
            f"The model is for {runtime}, and the {host.label} runs QNN models only",
            remedy="Compile it for a QNN runtime",
        )
    device = job.devices[0]
    require_sources(model, "run", repository)
    check_chip(model, device, repository)
    sources = sources_of(model, repository)
    if model.type is ModelType.QNN_DLC and not sources:
        raise ModelInvalidError(
            "The ONNX model that the DLC was made from is not there any more",
            remedy="Compile it again",
        )
    source = choose_graph(sources, job.options)
    kept = () if source is None else (("source", source),)
    # A DLC is compiled for the device now.  The chip of a binary was checked above; where none is
    # known, as the upload took too long to look at, the stage checks it.
    known_chip = qnn_facts(model.inspection).get("soc_model") is not None
    named = None if known_chip else device.name
    spec: dict[str, Any] = {"options": job.options, "device": named, "label": host.label}
    states = states_on_device(job)
    stages = []
    if job.kind is JobKind.INFERENCE and job.dataset_id is not None:
        origin = None if sources else origin_of(model, repository)
        told = None
        known: tuple[tuple[str, str], ...] = ()
        if origin is not None:
            known = (("origin", origin.blob),)
            specs = {
                name: [list(shape), dtype] for name, (shape, dtype) in origin.input_specs.items()
            }
            told = {"options": origin.options, "input_specs": specs or None}
        running = {**spec, "origin": told}
        stages.append(PlannedStage(host.run_stage, running, (*inputs, *kept, *known), states))
    if job.profiling or job.kind is JobKind.PROFILE:
        data = tuple(it for it in inputs if it[0] == "model")
        stages.append(PlannedStage(host.profile_stage, spec, (*data, *kept), states))
    return tuple(stages)
