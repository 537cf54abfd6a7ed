"""LSTM and GRU as our quantizer writes them: taken by the compiler for HTP, and computed right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qdq
from qdq.runtime.metrics import sqnr_db
from qnn_files import S24, need_qnn, text_net

GATES = {"GRU": 3, "LSTM": 4}
# Between the simulator and ONNX Runtime, which computes inside of the op in float.
LEAST = {"int8": 25, "int16": 50}


@pytest.mark.parametrize("activations", LEAST)
@pytest.mark.parametrize("op", GATES)
def test_states_and_steps(op: str, activations: str, tmp_path: Path) -> None:
    need_qnn()
    rng = np.random.default_rng(3)
    rows = GATES[op] * 6
    model = text_net(
        tmp_path,
        f"""<ir_version: 10, opset_import: ["" : 21]>
        g (float[5,1,8] x, float[1,1,6] h0) => (float[5,1,1,6] y, float[1,1,6] hn) {{
            y, hn = {op} <hidden_size = 6> (x, w, r, b, , h0)
        }}""",
        w=rng.normal(0, 0.4, (1, rows, 8)).astype(np.float32),
        r=rng.normal(0, 0.4, (1, rows, 6)).astype(np.float32),
        b=rng.normal(0, 0.1, (1, 2 * rows)).astype(np.float32),
    )
    samples = {
        "x": list(rng.uniform(-1, 1, (24, 5, 1, 8)).astype(np.float32)),
        "h0": list(rng.uniform(-0.5, 0.5, (24, 1, 1, 6)).astype(np.float32)),
    }
    quantized = tmp_path / "quantized.onnx"
    qdq.quantize(model, samples, quantized, activations=activations)
    binary = tmp_path / "model.bin"
    qdq.compile(quantized, binary, device=S24, options="--target_runtime qnn_context_binary")
    few = {name: arrays[:3] for name, arrays in samples.items()}
    simulated, expected = qdq.run(binary, few).outputs, qdq.run(quantized, few).outputs
    assert simulated is not None and expected is not None
    for name in ("y", "hn"):
        assert sqnr_db(np.asarray(expected[name]), np.asarray(simulated[name])) > LEAST[activations]
