"""Submitting jobs: what can be known to be wrong is refused here, with a sentence.

Each call validates, seeds the target model with its final type, and adds both in one transaction.
A client that lost our answer submits again: then there are two jobs, and each is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qdq.base import options as grammar
from qdq.base.accuracy_bound import bounds_of
from qdq.base.compute_units import check_units
from qdq.base.errors import DatasetError, OptionError, RequestError, SpecError, UnsupportedError
from qdq.base.options import Options, parse_options
from qdq.base.precision import (
    FULL_TYPES,
    check_precision,
    check_quantize_target,
    check_widths,
)
from qdq.base.qnn_package import check_qairt, require_qnn
from qdq.domain.ids import IdKind, new_id
from qdq.domain.qnn import QNN_RUNTIMES
from qdq.domain.records import (
    Device,
    Inspection,
    Job,
    Model,
    ModelType,
    Notice,
    Severity,
    TensorSpec,
    UploadState,
)
from qdq.domain.states import JobKind, JobState
from qdq.ports.device_host import DeviceHost
from qdq.ports.engine import Engine
from qdq.ports.repository import Repository
from qdq.service.checks import check_interface, check_samples, check_specs
from qdq.service.datasets import Datasets, ready
from qdq.service.devices import DeviceCatalogue
from qdq.service.execution import stand_in_notices, unused_options
from qdq.service.limits import ServiceLimits
from qdq.service.models import Models, usable
from qdq.service.names import check_name
from qdq.service.orders import CompileOrder, InferenceOrder, LinkOrder, Order, QuantizeOrder
from qdq.service.qnn import (
    check_chip,
    check_qnn_compile,
    compile_runtime,
    made_here,
    require_sources,
    runtime_of,
)

__all__ = ["Submissions"]

_COMPILED = (
    ModelType.ONNX,
    ModelType.TORCHSCRIPT,
    ModelType.TORCH_EXPORTED_PROGRAM,
    ModelType.AIMET_ONNX,
    ModelType.QNN_CONTEXT_BINARY,
)
_TARGET_TYPES = {
    "onnx": ModelType.ONNX,
    "tflite": ModelType.TFLITE,
    "qnn_context_binary": ModelType.QNN_CONTEXT_BINARY,
    "precompiled_qnn_onnx": ModelType.ONNX,
    "qnn_dlc": ModelType.QNN_DLC,
}
_RUNNABLE = (
    ModelType.ONNX,
    ModelType.TFLITE,
    ModelType.QNN_CONTEXT_BINARY,
    ModelType.QNN_DLC,
)
# Options of one runtime, and the kind of model that has it.
_OWN_OPTIONS = {
    "tflite_delegates": "tflite",
    "tflite_options": "tflite",
    "onnx_options": "onnx",
    "qnn_options": "qnn",
}
_SPELLED = {"tflite": "TFLite", "onnx": "ONNX", "qnn": "QNN"}
_DEFAULT_TARGET = "No --target_runtime given: the result is an optimized ONNX model"


class Submissions:
    """Adds jobs.  Raises the leaf of QdqError that says what is wrong with an order."""

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        *,
        models: Models,
        datasets: Datasets,
        devices: DeviceCatalogue,
        limits: ServiceLimits,
    ) -> None:
        self._repository = repository
        self._engine = engine
        self._models = models
        self._datasets = datasets
        self._devices = devices
        self._limits = limits

    def compile(self, order: CompileOrder) -> Job:
        """Add a compile job and its target model."""
        options = parse_options(grammar.JobKind.COMPILE, self._text(order.options))
        model = self._models.get(order.model_id)
        _require_type(model, _COMPILED, "compile")
        found = usable(self._repository, model)
        runtime = compile_runtime(options, model)
        devices = self._resolve(order.devices)
        for device in devices:
            self._devices.require_framework(device, _framework(runtime))
        check_units(options, qnn=runtime in QNN_RUNTIMES)
        self._check_qnn(runtime, options, devices, model, found)
        if model.type is ModelType.QNN_CONTEXT_BINARY:
            _check_wrapping(order)
        _check_input_specs(order.input_specs, model, found, most=self._limits.input_specs)
        check_interface(options, found)
        self._check_calibration(order.calibration_id, options, found, specs=order.input_specs)
        given = "target_runtime" in options.given or runtime in QNN_RUNTIMES
        job = self._new(
            JobKind.COMPILE,
            model,
            order,
            dataset_id=order.calibration_id,
            devices=devices,
            input_specs=tuple(order.input_specs),
            notices=() if given else (Notice(Severity.INFO, _DEFAULT_TARGET),),
        )
        return self._add(job, _TARGET_TYPES[runtime])

    def quantize(self, order: QuantizeOrder) -> Job:
        """Add a quantize job and its target model."""
        options = parse_options(grammar.JobKind.QUANTIZE, self._text(order.options))
        target = options.get_text("quantize_target")
        check_quantize_target(order.weights, order.activations, target)
        asked = (value for _, value in options.get_assignments("override"))
        check_widths(order.weights, asked, target)
        bounds_of(options)
        model = self._models.get(order.model_id)
        _require_type(model, (ModelType.ONNX,), "quantize")
        found = usable(self._repository, model)
        if order.calibration_id is None:
            raise DatasetError("The quantize job has no calibration data", remedy="Give a dataset")
        data = ready(self._repository, self._datasets.get(order.calibration_id))
        check_samples(data, found)
        job = self._new(
            JobKind.QUANTIZE,
            model,
            order,
            dataset_id=order.calibration_id,
            weights=order.weights,
            activations=order.activations,
        )
        return self._add(job, ModelType.ONNX)

    def inference(self, order: InferenceOrder) -> Job:
        """Add an inference job, which profiles too when asked, or an older client's profile job."""
        kind = JobKind.PROFILE if order.legacy_profile else JobKind.INFERENCE
        options = parse_options(grammar.JobKind.PROFILE, self._text(order.options))
        device = self._devices.resolve(order.device)
        model = self._models.get(order.model_id)
        _require_type(model, _RUNNABLE, str(kind), "Compile it to ONNX, TFLite or QNN first")
        runtime = runtime_of(model, self._repository)
        host = self._host(device, model, runtime, kind=kind)
        _refuse_foreign_options(options, model, runtime)
        check_units(options, qnn=runtime in QNN_RUNTIMES)
        if runtime in QNN_RUNTIMES:
            check_qairt(_text(options, "qairt_version"))
        found = usable(self._repository, made_here(model, self._repository))
        profiling = order.profiling or order.legacy_profile
        if order.dataset_id is not None:
            data = ready(self._repository, self._datasets.get(order.dataset_id))
            check_samples(data, found)
        elif not profiling:
            raise DatasetError(
                "The inference job has no inputs and does not profile",
                remedy="Give inputs, or profile on random data",
            )
        runs = order.dataset_id is not None and kind is JobKind.INFERENCE
        job = self._new(
            kind,
            model,
            order,
            dataset_id=order.dataset_id,
            devices=(device,),
            profiling=profiling,
            notices=(
                *stand_in_notices(host, device, profiling=profiling),
                *unused_options(options, runs=runs, measures=profiling and host.is_device),
            ),
        )
        return self._add(job)

    def link(self, order: LinkOrder) -> Job:
        """Add a link job, and the context binary that it will fill."""
        options = parse_options(grammar.JobKind.LINK, self._text(order.options))
        if not order.model_ids:
            raise RequestError("The link job has no models", remedy="Give at least one QNN DLC")
        if len(order.model_ids) > self._limits.linked:
            raise RequestError(f"The link job has {len(order.model_ids)} models")
        device = self._devices.resolve(order.device)
        self._devices.require_framework(device, "qnn")
        models = [self._models.get(model_id) for model_id in order.model_ids]
        for model in models:
            _require_type(model, (ModelType.QNN_DLC,), "link")
            require_sources(model, "link", self._repository)
            usable(self._repository, model)
        if len(set(order.model_ids)) < len(models):
            raise RequestError("The link job has a model twice", remedy="Give each model once")
        require_qnn()
        check_qairt(_text(options, "qairt_version"))
        # Clients call a link job after its last model.
        job = self._new(JobKind.LINK, models[-1], order, devices=(device,))
        job = replace(job, model_ids=tuple(order.model_ids))
        return self._add(job, ModelType.QNN_CONTEXT_BINARY)

    def _check_qnn(
        self,
        runtime: str,
        options: Options,
        devices: Sequence[Device],
        model: Model,
        found: Inspection,
    ) -> None:
        if runtime not in QNN_RUNTIMES:
            return
        if model.type is not ModelType.QNN_CONTEXT_BINARY:
            check_qnn_compile(runtime, options, devices, found)
            return
        require_qnn()
        for device in devices:
            check_chip(model, device, self._repository)

    def _host(self, device: Device, model: Model, runtime: str, *, kind: JobKind) -> DeviceHost:
        """Return who runs ``model`` on ``device``, once it is known to be for it."""
        host = self._devices.host_for(device, runtime, str(kind))
        host.require()
        self._devices.require_framework(device, _framework(runtime))
        if runtime in QNN_RUNTIMES:
            require_sources(model, "run", self._repository)
            check_chip(model, device, self._repository)
        return host

    def _text(self, options: str) -> str:
        if len(options) > self._limits.options_chars:
            raise OptionError(f"The option string has {len(options)} characters")
        return options.strip()

    def _resolve(self, devices: Sequence[Device]) -> tuple[Device, ...]:
        if not devices:
            raise RequestError("The compile job names no device", remedy="Give at least one")
        if len(devices) > self._limits.devices:
            raise RequestError(f"The compile job names {len(devices)} devices")
        return tuple(self._devices.resolve(device) for device in devices)

    def _check_calibration(
        self,
        dataset_id: str | None,
        options: Options,
        model: Inspection,
        *,
        specs: Sequence[TensorSpec],
    ) -> None:
        full_type = options.get("quantize_full_type")
        if full_type is None and dataset_id is None:
            return
        if dataset_id is None:
            raise OptionError(
                f"--quantize_full_type {full_type} needs calibration data",
                remedy="Give calibration_data, or leave the option out",
            )
        if full_type is None:
            raise OptionError(
                "The compile job has calibration data and nothing uses it",
                remedy="Add --quantize_full_type int8, or use a quantize job",
            )
        check_precision(*FULL_TYPES[str(full_type)], options.get_text("target_runtime"))
        data = ready(self._repository, self._datasets.get(dataset_id))
        check_samples(data, Inspection(model.format, inputs=_with_specs(model, specs)))

    def _new(self, kind: JobKind, model: Model, order: Order, **fields: Any) -> Job:
        """Return a job of ``kind`` on ``model``; ``fields`` are those that only its kind has."""
        now = self._repository.now()
        return Job(
            id=new_id(IdKind.JOB),
            kind=kind,
            name=check_name(order.name, most=self._limits.name_chars, default=model.name),
            state=JobState.CREATED,
            options=order.options.strip(),
            created=now,
            updated=now,
            model_ids=(model.id,),
            **fields,
        )

    def _add(self, job: Job, target: ModelType | None = None) -> Job:
        """Add a job, and with it the model of type ``target`` that it will fill."""
        seeded = None
        if target is not None:
            seeded = Model(
                id=new_id(IdKind.MODEL),
                name=job.name,
                type=target,
                created=job.created,
                upload=UploadState.CREATED,
                producer_id=job.id,
            )
            job = replace(job, target_model_id=seeded.id)
        self._repository.add_job(job, seeded)
        self._engine.wake()
        return job


def _require_type(
    model: Model, types: Sequence[ModelType], kind: str, remedy: str | None = None
) -> None:
    if model.type in types:
        return
    raise UnsupportedError(
        f"A {kind} job does not take the model '{model.name}': it is {model.type.name}",
        remedy=remedy or f"Give {' or '.join(it.name for it in types)}",
    )


def _framework(runtime: str) -> str:
    """Return the attribute of devices that run models of a target runtime."""
    return "qnn" if runtime in QNN_RUNTIMES else runtime


def _check_wrapping(order: CompileOrder) -> None:
    if order.options.strip() or order.input_specs or order.calibration_id is not None:
        raise OptionError(
            "A context binary is compiled already: it is only put into an ONNX model",
            remedy="Leave options, input_specs and calibration_data out",
        )


def _refuse_foreign_options(options: Options, model: Model, runtime: str) -> None:
    for name, owner in _OWN_OPTIONS.items():
        if name in options.given and owner != _framework(runtime):
            raise OptionError(
                f"Option --{name} is for {_SPELLED[owner]} models, and '{model.name}' is for "
                f"{runtime}",
                remedy="Leave it out, or compile the model for that runtime",
            )


def _text(options: Options, name: str) -> str | None:
    value = options.get(name)
    return None if value is None else str(value)


def _check_input_specs(
    specs: Sequence[TensorSpec], model: Model, found: Inspection, *, most: int
) -> None:
    if len(specs) > most:
        raise SpecError(f"There are {len(specs)} input specs, more than {most}")
    if not specs and model.type is ModelType.TORCHSCRIPT:
        raise SpecError(
            "A TorchScript model does not tell the shapes of its inputs",
            remedy="Give input_specs, such as {'image': (1, 3, 224, 224)}",
        )
    check_specs(specs, found)


def _with_specs(model: Inspection, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    given = {spec.name: spec for spec in specs}
    return tuple(given.get(it.name, it) for it in model.inputs) or tuple(specs)
