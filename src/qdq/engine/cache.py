"""Finished stages under the hash of what went into them: for equal work, and after a crash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdq.base.machine import describe_machine
from qdq.engine.expand import PlannedStage
from qdq.engine.versions import tool_versions
from qdq.ports.blobs import Blobs
from qdq.ports.repository import Repository

__all__ = ["FinishedStage", "recall", "remember", "stage_key"]


@dataclass(frozen=True, slots=True)
class FinishedStage:
    """The answer of a stage, and its outputs as name -> (SHA-256, bytes), put away as blobs."""

    answer: Mapping[str, Any]
    outputs: Mapping[str, tuple[str, int]]


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
    if not all(blobs.exists(sha) for sha, _ in outputs.values()):
        return None
    return FinishedStage(value["answer"], outputs)


def remember(repository: Repository, key: str, finished: FinishedStage) -> None:
    """Keep ``finished`` under ``key``; its blobs exist already."""
    outputs = {name: list(blob) for name, blob in finished.outputs.items()}
    repository.put_stage(key, {"answer": dict(finished.answer), "outputs": outputs})
