"""LSTM, GRU and RNN: their two weights, their gates, and the states that come back."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.runtime.metrics import sqnr_db

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
HIDDEN, FEATURES, STEPS = 6, 8, 5
TARGETS = ("portable", "ort-x86")


def parameters(op, directions=1, spread=1.0):
    """Return W, R and B; ``spread`` is how much larger each gate's weights are than the last."""
    rng = np.random.default_rng(4)
    gates = GATES[op]
    growth = np.repeat(spread ** np.arange(gates), HIDDEN)[None, :, None]
    return {
        "w": (rng.normal(0, 0.2, (directions, gates * HIDDEN, FEATURES)) * growth).astype("f"),
        "r": (rng.normal(0, 0.2, (directions, gates * HIDDEN, HIDDEN)) * growth).astype("f"),
        "b": rng.normal(0, 0.1, (directions, 2 * gates * HIDDEN)).astype("f"),
    }


def streaming(op, *, directions=1):
    """Return the text of a net that takes its state and gives it back."""
    state = f"float[{directions},1,{HIDDEN}]"
    cell = op == "LSTM"
    way = ', direction = "bidirectional"' if directions == 2 else ""
    return f"""g (float[{STEPS},1,{FEATURES}] x, {state} h0{f", {state} c0" if cell else ""})
        => (float y, {state} hn{f", {state} cn" if cell else ""}) {{
        s, hn{", cn" if cell else ""} = {op} <hidden_size = {HIDDEN}{way}>
            (x, w, r, b, , h0{", c0" if cell else ""})
        y = Tanh (s)
    }}"""


def samples_of(op, count=24, directions=1):
    rng = np.random.default_rng(5)

    def state():
        return rng.uniform(-1, 1, (directions, 1, HIDDEN)).astype("f")

    names = ("h0", "c0") if op == "LSTM" else ("h0",)
    return [
        {
            "x": rng.uniform(-1, 1, (STEPS, 1, FEATURES)).astype("f"),
            **{name: state() for name in names},
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_states_share_an_encoding_and_cells_have_another(op, parse, place):
    placement = place(parse(streaming(op), opset=14, **parameters(op)))
    owners = {site.tensor: site.owner for site in placement.activations}
    assert owners["h0"] == owners["s"] == owners["hn"] == "s"
    # What an application gives at first counts for the range as well as what comes back.
    assert placement.joined["s"] == ("h0",)
    if op == "LSTM":
        assert placement.joined["cn"] == ("c0",)
        assert owners["c0"] == owners["cn"] == "cn"
    assert placement.islands == ()


def test_a_state_read_by_others_keeps_its_own_encoding(parse, place):
    """One input that holds both states, as voice models have it: only a part is this state."""
    model = parse(
        f"""g (float[{STEPS},1,{FEATURES}] x, float[2,1,{HIDDEN}] state) =>
            (float[2,1,{HIDDEN}] next) {{
            h0, c0 = Split <axis = 0> (state, sizes)
            , hn, cn = LSTM <hidden_size = {HIDDEN}> (x, w, r, b, , h0, c0)
            next = Concat <axis = 0> (hn, cn)
        }}""",
        opset=14,
        sizes=np.array([1, 1]),
        **parameters("LSTM"),
    )
    owners = {site.tensor: site.owner for site in place(model).activations}
    assert owners["h0"] == owners["c0"] == "state"
    # The cell's range would take bits from the state, which is read at every step.
    assert owners["hn"] == "hn"
    assert owners["cn"] == "cn"
    assert owners["next"] == "next"


def test_constant_first_states_take_the_encoding_of_the_state(parse, place):
    text = f"""g (float[{STEPS},1,{FEATURES}] x) => (float y) {{
        y, , cn = LSTM <hidden_size = {HIDDEN}> (x, w, r, b, , h0, c0)
    }}"""
    zeros = np.zeros((1, 1, HIDDEN), np.float32)
    model = parse(text, opset=14, h0=zeros, c0=zeros, **parameters("LSTM"))
    constants = {site.tensor: site.like for site in place(model).constants}
    # Nothing reads the last cell, so that there is no encoding to take.
    assert constants == {"h0": "y", "c0": None}


@pytest.mark.parametrize("op", GATES)
def test_weights_have_a_scale_per_gate_where_the_target_takes_it(op, parse, place):
    model = parse(streaming(op), opset=14, **parameters(op))
    placement = place(model, target="ort-x86")
    found = {site.tensor: (site.axis, site.gates, site.uses) for site in placement.weights}
    node = next(iter(model.graph)).name
    assert found == {"w": (1, GATES[op], ((node, 1),)), "r": (1, GATES[op], ((node, 2),))}
    sources = {site.tensor: site.consumers[0].input_tensor for site in placement.weights}
    assert sources == {"w": "x", "r": "s"}


@pytest.mark.parametrize(
    ("target", "op"), [("portable", "RNN"), *(("htp-v68", op) for op in GATES), ("tflite", "LSTM")]
)
def test_what_the_target_lacks_stays_float(target, op, parse, place):
    placement = place(parse(streaming(op), opset=14, **parameters(op)), target=target)
    (island,) = placement.islands
    assert island.op_type == op
    assert target in island.reason
    assert not placement.weights


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_quantized(op, target, weights, activations, directions, parse, quantize, run):
    model = parse(
        streaming(op, directions=directions), opset=21, **parameters(op, directions, spread=1.5)
    )
    samples = samples_of(op, directions=directions)
    result = quantize(
        model,
        samples,
        weights=weights,
        activations=activations,
        options=f"--quantize_target {target}",
    )
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    (node,) = (n for n in result.model.graph if n.op_type == op)
    # The bias stays as it is: the compiler for HTP takes it as floats only.
    assert node.inputs[3].is_initializer()
    gates = GATES[op] if target == "ort-x86" else 1
    for position, name in ((1, "w"), (2, "r")):
        dequantize = node.inputs[position].producer()
        assert dequantize.op_type == "DequantizeLinear"
        scale = dequantize.inputs[1].const_value.numpy()
        assert len(np.unique(scale)) == gates
        if gates > 1:
            assert (np.ptp(scale.reshape(gates, HIDDEN), axis=1) == 0).all()
        # On the grid, so that integers stand for every value.
        stored = dequantize.inputs[0].producer().inputs[0].const_value.numpy()
        by_channel = np.moveaxis(stored, 1, 0).reshape(len(stored[0]), -1)
        integers = by_channel / np.broadcast_to(scale, len(by_channel))[:, None]
        assert np.abs(integers - np.rint(integers)).max() < 1e-3, name
    # Floors a few dB below what rounding of these random weights costs.
    least = 20 if weights == "int8" else 12
    for sample in samples:
        before, after = run(model, sample), run(result.model, sample)
        assert sqnr_db(before["y"], after["y"]) > least


def test_a_scale_per_gate_is_better_where_gates_differ(parse, quantize, run):
    model = parse(streaming("LSTM"), opset=21, **parameters("LSTM", spread=3.0))
    samples = samples_of("LSTM")
    errors = {}
    for target in TARGETS:
        options = f"--quantize_target {target} --rounding nearest"
        result = quantize(model, samples, activations="int16", options=options)
        error = [run(model, it)["y"] - run(result.model, it)["y"] for it in samples]
        errors[target] = float(np.square(error).mean())
    assert errors["ort-x86"] < 0.7 * errors["portable"]
