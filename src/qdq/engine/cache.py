"""Finished stages under the hash of what went into them: for equal work, and after a crash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdq.base.machine import describe_machine
from qdq.base.tools import tool_versions
from qdq.engine.expand import PlannedStage
from qdq.ports.blobs import Blobs
from qdq.ports.repository import Repository

__all__ = ["FinishedStage", "recall", "remember", "stage_key"]


@dataclass(frozen=True, slots=True)
class FinishedStage:
    """The answer of a stage, and its outputs as name -> (SHA-256, bytes), put away as blobs.

    ``job_id`` did it, and ``log`` is the blob of what it wrote to its log meanwhile.
    """

    answer: Mapping[str, Any]
    outputs: Mapping[str, tuple[str, int]]
    job_id: str = ""
    log: str | None = None


def stage_key(planned: PlannedStage) -> str:
    """Return the SHA-256 over stage, spec, inputs, versions and the kind of processor."""
    machine = describe_machine()
    facts = {
        "stage": planned.stage,
        "scope": planned.scope,
        "spec": dict(planned.spec),
        "inputs": sorted(planned.inputs),
        "versions": tool_versions(),
        # The same bytes are promised on one instruction set only.
        "processor": [machine.architecture, machine.cpu, machine.avx512_vnni],
    }
    # Not sorted: the order of a model's inputs is part of its spec.
    text = json.dumps(facts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def recall(repository: Repository, blobs: Blobs, key: str) -> FinishedStage | None:
    """Return the stage that was finished under ``key``, if all it made is still there."""
    value = repository.get_stage(key)
    if value is None:
        return None
    outputs = {name: (str(sha), int(size)) for name, (sha, size) in value["outputs"].items()}
    # Refreshed, so that they are not collected as garbage before the job that gets them ends.
    if not all(blobs.refresh(sha) for sha, _ in outputs.values()):
        return None
    log = value.get("log")
    return FinishedStage(value["answer"], outputs, value.get("job", ""), log)


def remember(repository: Repository, key: str, finished: FinishedStage) -> None:
    """Keep ``finished`` under ``key``; its blobs exist already."""
    outputs = {name: list(blob) for name, blob in finished.outputs.items()}
    value = {
        "answer": dict(finished.answer),
        "outputs": outputs,
        "job": finished.job_id,
        "log": finished.log,
    }
    repository.put_stage(key, value)
