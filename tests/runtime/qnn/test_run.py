"""The simulator, linking and placement, through the library."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import qdq
from qdq.base.progress import NO_PROGRESS
from qdq.library import qnn_placement
from qdq.runtime import open_runnable
from qdq.runtime.qnn.context import read_context
from qdq.runtime.qnn.session import QnnSession
from qdq.runtime.qnn.wrapper import make_wrapper
from qnn_files import S24, S25, images


def integers(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return list(rng.integers(0, 256, size=(count, 1, 3, 8, 8)).astype(np.uint8))


def test_a_stream_in_batches(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdq.runtime.qnn.session._BATCH_SAMPLES", 2)
    samples = [{"image": sample} for sample in integers(3)]
    with open_runnable(binary) as session:
        assert isinstance(session, QnnSession)
        found = list(session.run_stream(samples, progress=NO_PROGRESS))
        assert len(found) == 3
        assert found[2]["scores"].tobytes() == session.run(samples[2])["scores"].tobytes()
        with pytest.raises(qdq.DatasetError, match="float32"):
            session.run({"image": samples[0]["image"].astype(np.float32)})
    with pytest.raises(Exception, match="closed"):
        session.run(samples[0])


def test_dequantized_outputs(binary: Path) -> None:
    plain = qdq.run(binary, {"image": integers()}).outputs
    real = qdq.run(binary, {"image": integers()}, options="--dequantize_outputs")
    assert plain is not None and real.outputs is not None
    assert real.tensors[0].dtype == "float32"
    spec = qdq.inspect(binary).output_spec[0]
    assert spec.scale is not None and spec.zero_point is not None
    expected = (plain["scores"][0].astype(np.float32) - spec.zero_point) * np.float32(spec.scale)
    np.testing.assert_allclose(real.outputs["scores"][0], expected, rtol=1e-6)


def test_another_chip_is_refused(binary: Path) -> None:
    with pytest.raises(qdq.SpecError, match=r"is for SM8650 .* has SM8750"):
        qdq.run(binary, {"image": integers()}, device=S25)
    with pytest.raises(qdq.SpecError, match="no device"):
        qdq.run(binary, {"image": integers()}, device="Nokia 3310")


@pytest.mark.parametrize(
    "options",
    [
        "--onnx_options intra_op_num_threads=1",
        "--max_profiler_time 3",
        "--qnn_options default_graph_htp_optimizations=O=3",
        "--qairt_version 1.0",
    ],
)
def test_options_that_do_not_apply(binary: Path, options: str) -> None:
    with pytest.raises(qdq.OptionError):
        qdq.run(binary, {"image": integers()}, options=options)


def test_the_digest_guards_a_precompiled_model(binary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m.onnx"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(make_wrapper(read_context(binary)))
    data = bytearray(binary.read_bytes())
    data[-100] ^= 1
    (folder / "model_qnn.bin").write_bytes(data)
    with pytest.raises(qdq.ModelInvalidError, match="SHA-256 differs"):
        qdq.run(folder, {"image": integers()})


def test_an_embedded_context(binary: Path, tmp_path: Path) -> None:
    model = onnx.load_from_string(make_wrapper(read_context(binary)))
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "embed_mode":
            attribute.i = 1
        if attribute.name == "ep_cache_context":
            attribute.s = binary.read_bytes()
    onnx.save(model, tmp_path / "embedded.onnx")
    found = qdq.run(tmp_path / "embedded.onnx", {"image": integers()}).outputs
    expected = qdq.run(binary, {"image": integers()}).outputs
    assert found is not None and expected is not None
    np.testing.assert_array_equal(found["scores"], expected["scores"])


def test_profile_says_that_no_latency_is_known(binary: Path) -> None:
    with pytest.raises(qdq.UnsupportedError, match="no latency can be known"):
        qdq.profile(binary)


def test_placement_of_a_binary_and_of_a_dlc(binary: Path, dlcs: Path) -> None:
    told = qnn_placement(binary, device=S24).to_dict()
    (graph,) = told["graphs"]
    assert told["latency_known"] is False and told["prepare_us"] == {}
    assert any("make_c" in op["name"] for op in graph["ops"])
    assert {op["unit"] for op in graph["ops"]} == {"NPU"}
    assert told["binary_bytes"] > told["weight_bytes"] > 0
    assert graph["io_bytes"] == 3 * 64 + 4
    told = qnn_placement(dlcs / "one.dlc", device=S24).to_dict()
    (graph,) = told["graphs"]
    assert graph["op_counts"]["Conv2d"] == 1
    assert told["prepare_us"]["Graph Optimizations"] > 0
    text = json.dumps(told)
    assert "latency" in text and "execution_time" not in text and "cycles" not in text


def test_link_shares_weights_and_keeps_names(dlcs: Path, tmp_path: Path) -> None:
    done = qdq.link([dlcs / "one.dlc", dlcs / "two.dlc"], tmp_path / "both.bin", device=S24)
    assert done.graphs == ("one", "two")
    seen = read_context(tmp_path / "both.bin")
    assert {graph.name for graph in seen.graphs} == {"one", "two"}
    assert seen.graph("two").inputs[0].shape == (2, 3, 8, 8)
    assert done.linked_bytes == seen.size < done.separate_bytes
    assert done.weights_shared and "weights are shared" in " ".join(done.notices)
    json.dumps(done.to_dict(), allow_nan=False)


def test_a_linked_graph_runs_from_its_source(dlcs: Path, tmp_path: Path) -> None:
    qdq.link([dlcs / "one.dlc", dlcs / "two.dlc"], tmp_path / "both.bin", device=S24)
    samples = {"image": images(2)}
    source = dlcs / "one.source.onnx"
    found = qdq.run(tmp_path / "both.bin", samples, source=source)
    assert "loads no shared weights" in " ".join(found.notices)
    expected = qdq.run(dlcs / "one.dlc", samples, device=S24).outputs
    assert found.outputs is not None and expected is not None
    np.testing.assert_array_equal(found.outputs["scores"], expected["scores"])
    with pytest.raises(qdq.UnsupportedError, match="2 graphs that share weights"):
        qdq.run(tmp_path / "both.bin", samples)


def test_what_cannot_be_linked(dlcs: Path, tmp_path: Path) -> None:
    with pytest.raises(qdq.OptionError, match="graphs named 'one'"):
        qdq.link([dlcs / "one.dlc", dlcs / "one.dlc"], device=S24)
    with pytest.raises(qdq.OptionError, match="nothing to link"):
        qdq.link([], device=S24)
    with pytest.raises(qdq.OptionError, match="have the graphs one, two"):
        qdq.link(
            [dlcs / "one.dlc", dlcs / "two.dlc"],
            device=S24,
            options="--qnn_options context_enable_graphs=one",
        )
    foreign = tmp_path / "foreign.dlc"
    shutil.copy(dlcs / "one.dlc", foreign)
    with pytest.raises(qdq.UnsupportedError, match="DLC of another tool cannot be taken"):
        qdq.link([foreign], device=S24)
    shutil.copy(dlcs / "two.source.onnx", tmp_path / "foreign.source.onnx")
    with pytest.raises(qdq.ModelInvalidError, match="is not the model that"):
        qdq.link([foreign], device=S24)
    cut = tmp_path / "cut.dlc"
    cut.write_bytes((dlcs / "one.dlc").read_bytes()[:500])
    with pytest.raises(qdq.ModelCorruptError):
        qdq.inspect(cut)


def test_a_dlc_without_device_or_source(dlcs: Path, tmp_path: Path) -> None:
    with pytest.raises(qdq.OptionError, match="needs a device"):
        qdq.run(dlcs / "one.dlc", {"image": images()})
    alone = tmp_path / "alone.dlc"
    shutil.copy(dlcs / "one.dlc", alone)
    with pytest.raises(qdq.UnsupportedError, match="without the ONNX model"):
        qdq.run(alone, {"image": images()}, device=S24)
    assert qdq.inspect(alone).hazards[0].kind == "foreign_dlc"
    found = qdq.run(alone, {"image": images()}, device=S24, source=dlcs / "one.source.onnx")
    assert found.samples == 3


def test_compare_onnx_with_the_npu(dlcs: Path, binary: Path) -> None:
    done = qdq.compare(binary.with_name("qdq.onnx"), binary, {"image": images()})
    (scores,) = done.outputs
    assert scores.metrics.sqnr_db is not None and scores.metrics.sqnr_db > 30
