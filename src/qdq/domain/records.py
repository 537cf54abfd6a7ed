"""The rows of the workbench as frozen values.  Times are UTC and aware."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from qdq.domain.states import JobKind, JobState

__all__ = [
    "Dataset",
    "Device",
    "Inspection",
    "Job",
    "Model",
    "ModelType",
    "Notice",
    "Pruned",
    "Severity",
    "TensorSpec",
    "UploadState",
]


class ModelType(IntEnum):
    """The wire's ModelType numbers that clients use."""

    TORCHSCRIPT = 1
    MLMODEL = 2
    TFLITE = 4
    MLMODELC = 5
    ONNX = 6
    MLPACKAGE = 8
    TETRART = 9
    QNN_CONTEXT_BINARY = 11
    AIMET_ONNX = 12
    QNN_DLC = 15
    TORCH_EXPORTED_PROGRAM = 16


class UploadState(IntEnum):
    """How far an uploaded asset has come; targets of jobs are READY when their job is DONE."""

    CREATED = 0
    UPLOADED = 1
    READY = 2
    BAD = 3


class Severity(IntEnum):
    """The wire's Notice.Severity."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and dtype of an input or output; scale and zero point where it is quantized.

    ``graph`` names the graph that has it, in a model of several.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: float | None = None
    graph: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the sandboxed inspect stage read from an upload.

    ``format`` is onnx, torchscript, exported_program, aimet, ... or h5; ``inputs``/``outputs`` are
    the tensors (of a dataset: one sample's inputs); ``details`` is what pages show.
    ``problem`` is the sentence that refuses a bad upload, with its wire failure type.
    """

    format: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    samples: int | None = None
    hazards: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    failure_type: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model: uploaded, or the target of a job (``producer_id``)."""

    id: str
    name: str
    type: ModelType
    created: datetime
    upload: UploadState
    is_directory: bool = False
    producer_id: str | None = None
    blob: str | None = None  # sha256 of the bytes
    size: int = 0
    filename: str = ""
    inspection: Inspection | None = None
    metadata: dict[int, str] = field(default_factory=dict)
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: uploaded, or the outputs of a job (``producer_id``)."""

    id: str
    name: str
    created: datetime
    expires: datetime
    upload: UploadState
    permanent: bool = False
    producer_id: str | None = None
    blob: str | None = None
    size: int = 0
    inspection: Inspection | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the client names it: ``attributes`` are "key:value"."""

    name: str
    os: str = ""
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence of a job that its user should read."""

    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were forgotten, and the blobs that those left name."""

    jobs: int
    models: int
    datasets: int
    stages: int
    live: frozenset[str]


@dataclass(frozen=True, slots=True)
class Job:
    """A job.  ``attempt`` fences every write of its worker; ``lease_until`` ends it when lost.

    ``result`` is small JSON that its kind defines (profile detail, metrics per output, tool
    versions); ``artifacts`` maps the wire's JobArtifactType numbers to blobs.  Of waiting jobs,
    those of a higher ``priority`` are begun first, and of one priority the oldest.
    """

    id: str
    kind: JobKind
    name: str
    state: JobState
    options: str
    created: datetime
    updated: datetime
    model_ids: tuple[str, ...] = ()
    dataset_id: str | None = None
    devices: tuple[Device, ...] = ()
    input_specs: tuple[TensorSpec, ...] = ()
    weights: str | None = None
    activations: str | None = None
    profiling: bool = False
    target_model_id: str | None = None
    output_dataset_id: str | None = None
    started: datetime | None = None
    completed: datetime | None = None
    failure_reason: str | None = None
    failure_type: int | None = None
    notices: tuple[Notice, ...] = ()
    result: dict[str, Any] | None = None
    artifacts: dict[int, str] = field(default_factory=dict)
    attempt: int = 0
    retries: int = 0
    lease_until: datetime | None = None
    worker: str | None = None
    cancel_requested: bool = False
    priority: int = 0
