"""Profiling in a child: all figures are there and plausible, nodes map back, failures are told."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.base.errors import (
    DatasetError,
    ModelCorruptError,
    OptionError,
    SpecError,
    UnsupportedError,
)
from qdq.dataset import open_samples
from qdq.runtime.nodes import node_times, source_nodes
from qdq.runtime.profile import Phase, profile_model


class _Recorder:
    def __init__(self):
        self.total = 0
        self.done = 0

    def step(self, name, total):
        self.total = total

    def advance(self, units=1):
        self.done += units

    def notice(self, text):
        raise AssertionError(text)


@pytest.fixture
def saved(tmp_path):
    def save(model, **how):
        path = tmp_path / "m.onnx"
        ir.save(model, path, **how)
        return path

    return save


def test_figures(qdq_model, saved):
    recorder = _Recorder()
    found = profile_model(saved(qdq_model), iterations=7, threads=1, progress=recorder)
    assert len(found.first_load.times_us) == 1 and len(found.warm_load.times_us) == 3
    assert len(found.inference.times_us) == 7
    assert found.first_inference_us > 0
    for phase in (found.first_load, found.warm_load, found.inference):
        assert all(time > 0 for time in phase.times_us)
        assert 10 << 20 < phase.peak_memory < 4 << 30
        assert 0 <= phase.memory_increase <= phase.peak_memory
        assert 0 <= phase.peak_increase < phase.peak_memory
    assert found.inputs == (("x", "float32", (1, 4)),)
    assert found.data == "random data"
    assert found.environment["threads"] == 1 and found.environment["cpu"]
    assert sum(node.share for node in found.nodes) == pytest.approx(1)
    assert {"first", "second"} <= {node.source for node in found.nodes}
    assert {node.provider for node in found.nodes} == {"CPUExecutionProvider"}
    assert (recorder.done, recorder.total) == (11, 11)
    form = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    summary = form["execution_summary"]
    assert summary["estimated_inference_time"] == round(min(found.inference.times_us))
    assert len(summary["all_inference_times"]) == 7
    assert {one["compute_unit"] for one in form["execution_detail"]} == {"CPU"}


def test_given_samples(float_model, saved):
    data = {"x": np.ones((3, 4), np.float32)}
    with open_samples(data) as samples:
        found = profile_model(saved(float_model), iterations=4, samples=samples)
    assert found.data == "given samples" and len(found.inference.times_us) == 4


def test_time_limit_leaves_at_least_one_run(float_model, saved):
    found = profile_model(saved(float_model), iterations=10**9, max_time=0)
    assert len(found.inference.times_us) == 1


def test_external_data_and_integer_inputs(parse, saved):
    model = parse(
        """g (float[N,4] x, int64[2] i, bool[1] c) => (float[M,4] y, bool[1] d)
        <float[4] w = {1, 2, 3, 4}> { s = Add(x, w) t = Concat<axis=0>(s, s)
          y = Gather<axis=0>(t, i) d = Not(c) }"""
    )
    path = saved(model, external_data="w.bin", size_threshold_bytes=0)
    found = profile_model(path, iterations=2)
    assert [shape for _, _, shape in found.inputs] == [(1, 4), (2,), (1,)]


def test_wrong_samples(float_model, saved):
    data = {"x": np.ones((3, 5), np.float32)}
    with open_samples(data) as samples, pytest.raises(DatasetError, match="1x5"):
        profile_model(saved(float_model), samples=samples)


def test_open_dimensions_need_data(parse, saved):
    path = saved(parse("g (float[N,M] x) => (float[N,M] y) { y = Neg(x) }"))
    with pytest.raises(SpecError) as caught:
        profile_model(path)
    assert caught.value.tensor == "x"


def test_model_that_does_not_load(parse, saved):
    path = saved(parse("g (float[1] x) => (float[1] y) { [n] y = Nope(x) }"))
    with pytest.raises(UnsupportedError) as caught:
        profile_model(path)
    assert (caught.value.node, caught.value.op_type) == ("n", "Nope")


@pytest.mark.parametrize("data", [b"", b"garbage"])
def test_no_model(tmp_path, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelCorruptError):
        profile_model(path, iterations=1)
    with pytest.raises(ModelCorruptError):
        profile_model(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    "numbers",
    [{"iterations": 0}, {"threads": -1}, {"max_time": -1.0}, {"max_time": float("nan")}],
)
def test_wrong_numbers(float_model, saved, numbers):
    with pytest.raises(OptionError):
        profile_model(saved(float_model), **numbers)


def test_nothing_is_left_behind(float_model, saved, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    profile_model(saved(float_model), iterations=1)
    assert list(folder.iterdir()) == []


def test_phase_statistics():
    phase = Phase(tuple(map(float, (5, 1, 4, 2, 3, 6, 9, 8, 7, 10))), 1, 1, 1)
    assert (phase.min_us, phase.median_us, phase.p90_us) == (1, 5.5, 9)
    assert Phase((4.0,), 1, 1, 1).p90_us == 4


_GRAPH = onnx.parser.parse_graph(
    """g (float[1] x) => (float[1] z) { [conv] c = Conv(x) [clip] d = Clip(c)
       [add_token_1] e = Add(d, x) z = Neg(e) }"""
)


@pytest.mark.parametrize(
    ("kernel", "op_type", "source"),
    [
        ("conv", "Conv", "conv"),
        ("conv", "QLinearConv", "conv"),
        ("conv_token_12", "QLinearConv", "conv"),
        ("conv_token_12_nchwc", "Conv", "conv"),
        ("add_token_1", "Add", "add_token_1"),
        ("d_nchwc", "Conv", "conv"),
        ("d_nchwc", "FusedThing", "clip"),
        ("c", "Conv", "conv"),
        ("ReorderOutput", "ReorderOutput", None),
        ("conv_1", "Conv", None),
        ("z", "Neg", None),
        ("", "Neg", None),
    ],
)
def test_source_nodes(kernel, op_type, source):
    assert source_nodes([(kernel, op_type)], _GRAPH) == [source]


def test_node_times_leave_the_first_run_out(tmp_path):
    def event(name, dur, index="0"):
        arguments = {"op_name": "Conv", "provider": "CPU", "node_index": index}
        return {"cat": "Node", "name": name, "dur": dur, "args": arguments}

    events = [{"cat": "Session", "name": "model_run", "dur": 5, "args": {}}]
    events += [event("conv_kernel_time", dur) for dur in (1000, 10, 20, 60)]
    events += [event("other_kernel_time", 5, "1"), event("other_fence_before", 7, "1")]
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps(events))
    conv, other = node_times(path, _GRAPH)
    assert (conv.name, conv.source, conv.mean_us, conv.median_us) == ("conv", "conv", 30, 20)
    assert (other.source, other.mean_us) == (None, 5)
    assert (conv.share, other.share) == (0.8, 0.2)
