"""QNN models and jobs on the wire: metadata, graphs, and no time where none was measured."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from qdq.api.context import Account
from qdq.api.translate.assets import model_to_wire
from qdq.api.translate.jobs import job_to_wire
from qdq.api.translate.results import result_to_wire
from qdq.api.translate.summaries import summary_to_wire
from qdq.api.wire import workbench_pb2 as pb
from qdq.domain.records import Inspection, Job, Model, ModelType, TensorSpec, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.service.jobs import JobView
from service.qnn_room import FACTS, S24

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = Account()


def model(**fields):
    specs = (
        TensorSpec("image", (1, 3), "uint8", scale=0.5, zero_point=3, graph="one"),
        TensorSpec("image", (1, 3), "uint8", scale=0.5, zero_point=3, graph="two"),
    )
    found = Inspection("qnn_context_binary", specs, specs, details={"qnn": FACTS})
    return Model("m1", "net", ModelType.QNN_CONTEXT_BINARY, NOW, UploadState.READY,
                 inspection=found, **fields)  # fmt: skip


def test_metadata_and_graphs():
    message = model_to_wire(model(), ACCOUNT)
    entries = dict(message.metadata.entries)
    assert entries[pb.MODEL_METADATA_KEY_QNN_CONTEXT_BIN_SOC_MODEL] == "57"
    assert entries[pb.MODEL_METADATA_KEY_QAIRT_SDK_VERSION] == FACTS["build_id"]
    assert [it.graph_name for it in message.input_spec.types] == ["one", "two"]
    assert message.input_spec.types[0].tensor_type.zero_point == 3


@pytest.mark.parametrize("version", [(0, 55, 0), (0, 56, 0)])
@pytest.mark.parametrize("kind", [JobKind.INFERENCE, JobKind.PROFILE])
def test_a_profile_without_a_latency_has_no_time_at_all(kind, version):
    result = {"placement": {"ops": {"net": 3}}, "tool_versions": {"qdq": "1"}}
    job = Job("j1", kind, "net", JobState.DONE, "", NOW, NOW, model_ids=("m1",), devices=(S24,),
              profiling=True, result=result, artifacts={6: "a" * 64})  # fmt: skip
    view = JobView(job, (model(),))
    message = job_to_wire(view, ACCOUNT, version)
    body = message.inference_job if message.WhichOneof("job") == "inference_job" else (
        message.profile_job
    )  # fmt: skip
    assert not body.HasField("execution_time")
    assert not body.HasField("execution_peak_memory")
    assert list(message.available_artifacts) == [pb.JOB_ARTIFACT_TYPE_PROFILE_TRACE]
    summary = summary_to_wire(view, ACCOUNT, version)
    told = getattr(summary, summary.WhichOneof("job"))
    assert not told.HasField("execution_time")
    found = result_to_wire(job, version)
    if found.WhichOneof("result") == "inference_job_result":
        assert not found.inference_job_result.HasField("detail")
    else:
        assert not found.profile_job_result.HasField("profile")
