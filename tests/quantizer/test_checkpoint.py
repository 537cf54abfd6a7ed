"""An interrupted quantization goes on from its finished stages, and gives the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import qdq
from qdq.quantizer import pipeline
from qdq.quantizer.checkpoint.codec import DamagedError, read_values, write_values
from qdq.quantizer.encoding import Encoding
from qdq.quantizer.histogram import Histogram

NET = """<ir_version: 10, opset_import: ["" : 17]>
g (float[1,4,8,8] x) => (float[1,5] y) {
    c = Conv <pads = [1,1,1,1]> (x, w) r = Relu (c) p = GlobalAveragePool (r)
    f = Flatten (p) y = Gemm <transB = 1> (f, v)
}"""


@pytest.fixture
def work(tmp_path):
    """Return (model, samples): a small net and 48 samples, so that every stage has a gate."""
    rng = np.random.default_rng(0)
    proto = onnx.parser.parse_model(NET)
    for name, shape in {"w": (6, 4, 3, 3), "v": (5, 6)}.items():
        values = rng.normal(0, 0.4, shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(proto, tmp_path / "net.onnx")
    samples = rng.normal(0, 1, (48, 1, 4, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples[:, 0])
    return tmp_path / "net.onnx", {"x": list(samples)}


def counted(monkeypatch):
    """Count the calls of the costly stages."""
    calls = []
    for name in ("collect_statistics", "take_best"):
        plain = getattr(pipeline, name)

        def spy(*args, plain=plain, name=name, **kwargs):
            calls.append(name)
            return plain(*args, **kwargs)

        monkeypatch.setattr(pipeline, name, spy)
    return calls


def interrupt(monkeypatch, name):
    """Let the stage ``name`` be ended as Ctrl-C ends it; return what mends it again."""

    def ended(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, name, ended)


@pytest.mark.parametrize(
    ("stage", "left", "again"),
    [
        ("take_best", ["kept_calibrate.npz"], ["take_best"]),
        ("emit_plan", ["kept_calibrate.npz", "kept_round.npz"], []),
    ],
)
def test_it_goes_on_where_it_was_ended(stage, left, again, work, tmp_path, monkeypatch):
    model, samples = work
    whole = tmp_path / "whole.onnx"
    qdq.quantize(model, samples, whole)
    folder = tmp_path / "stages"
    with monkeypatch.context() as patched:
        interrupt(patched, stage)
        with pytest.raises(KeyboardInterrupt):
            qdq.quantize(model, samples, tmp_path / "out.onnx", resume=folder)
    assert sorted(path.name for path in folder.iterdir()) == left
    assert not (tmp_path / "out.onnx").exists()
    calls = counted(monkeypatch)
    # In another order: that is the same work.
    turned = {"x": samples["x"][::-1]}
    result = qdq.quantize(model, turned, tmp_path / "out.onnx", resume=folder)
    assert calls == again
    assert (tmp_path / "out.onnx").read_bytes() == whole.read_bytes()
    assert sum("interrupted run" in notice for notice in result.notices) == len(left)
    assert not folder.exists()


@pytest.mark.parametrize("change", ["samples", "options", "model", "precision", "damage"])
def test_other_work_begins_anew(change, work, tmp_path, monkeypatch):
    model, samples = work
    folder = tmp_path / "stages"
    with monkeypatch.context() as patched:
        interrupt(patched, "take_best")
        with pytest.raises(KeyboardInterrupt):
            qdq.quantize(model, samples, tmp_path / "out.onnx", resume=folder)
    given_options, activations = "", "int8"
    if change == "samples":
        samples = {"x": [*samples["x"][1:], samples["x"][0] * 2]}
    elif change == "options":
        given_options = "--range_scheme min_max"
    elif change == "precision":
        activations = "int16"
    elif change == "model":
        proto = onnx.load(model)
        moved = numpy_helper.to_array(proto.graph.initializer[1]) + np.float32(0.01)
        proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(moved, "v"))
        onnx.save(proto, model)
    else:
        kept = folder / "kept_calibrate.npz"
        kept.write_bytes(kept.read_bytes()[:-200])
    plain = tmp_path / "plain.onnx"
    qdq.quantize(model, samples, plain, options=given_options, activations=activations)
    calls = counted(monkeypatch)
    out = tmp_path / "out.onnx"
    result = qdq.quantize(
        model, samples, out, options=given_options, activations=activations, resume=folder
    )
    assert calls == ["collect_statistics", "take_best"]
    assert not any("interrupted" in notice for notice in result.notices)
    assert out.read_bytes() == plain.read_bytes()


def test_an_error_leaves_nothing(work, tmp_path, monkeypatch):
    model, samples = work

    def refused(*args, **kwargs):
        raise qdq.ModelInvalidError("It is no good", remedy="Give another")

    monkeypatch.setattr(pipeline, "take_best", refused)
    with pytest.raises(qdq.ModelInvalidError):
        qdq.quantize(model, samples, tmp_path / "out.onnx", resume=tmp_path / "stages")
    assert not (tmp_path / "stages").exists()


def test_a_folder_that_cannot_be_written_costs_nothing(work, tmp_path):
    model, samples = work
    (tmp_path / "stages").write_text("a file")
    qdq.quantize(model, samples, tmp_path / "out.onnx", resume=tmp_path / "stages")
    assert (tmp_path / "stages").read_text() == "a file"


def test_a_killed_command_goes_on(work, tmp_path):
    """The process is killed without a chance to do anything, by its id."""
    model, _ = work
    out, whole = tmp_path / "out.onnx", tmp_path / "whole.onnx"
    stages = tmp_path / ".out.onnx.stages"
    command = [sys.executable, "-m", "qdq", "quantize", str(model), "--json"]
    command += ["--calibration", str(tmp_path / "data.npz"), "--output"]
    slow = "import time, qdq.quantizer.pipeline as p; p.take_best = lambda *a, **k: time.sleep(60)"
    script = f"{slow}; from qdq.cli import main; main()"
    first = subprocess.Popen([sys.executable, "-c", script, *command[3:], str(out)])
    try:
        end = time.monotonic() + 60
        while not (stages / "kept_calibrate.npz").exists():
            assert first.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert not out.exists()
    told = subprocess.run([*command, str(out)], check=True, capture_output=True, text=True)
    assert "taken from an interrupted run" in told.stdout
    assert not stages.exists()
    subprocess.run([*command, str(whole), "--no-resume"], check=True, capture_output=True)
    assert out.read_bytes() == whole.read_bytes()


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=12,
)


@given(TREES)
def test_values_are_read_as_they_were_written(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("codec") / "kept.npz"
    write_values(path, tree)
    assert read_values(path) == tree


def test_objects_of_the_quantizer(tmp_path):
    histogram = Histogram()
    values = np.linspace(-2, 3, 50, dtype=np.float32)
    histogram.add(values, low=-2.0, high=3.0)
    encoding = Encoding((0.5,), (3,), 8, signed=False)
    given_values = [histogram, encoding, array("f", [1, 2]), np.float32(3.5), {"a"}]
    write_values(tmp_path / "kept.npz", given_values)
    found = read_values(tmp_path / "kept.npz")
    assert found[1:] == given_values[1:]
    assert found[0].maximum == 3.0
    np.testing.assert_array_equal(found[0].counts, histogram.counts)
    found[0].merge(histogram)
    assert found[0].count == 100


def test_only_objects_of_the_quantizer(tmp_path):
    path = tmp_path / "kept.npz"
    with pytest.raises(qdq.base.errors.InternalError, match="Path"):
        write_values(path, Path())
    tree = b'{"object": "subprocess:Popen", "state": {}}'
    np.savez(path, tree=np.frombuffer(tree, np.uint8))
    with pytest.raises(DamagedError):
        read_values(path)
