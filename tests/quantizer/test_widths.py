"""Nodes of another width than the setting: where it reaches, and the converts where widths meet."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.overrides import Overrides
from qdq.quantizer.rules import load_target
from qdq.quantizer.sites import place_sites

RNG = np.random.default_rng(3)
ONE = "float[1,4,4,4] x"
PAIR = "float[1,4,4,4] x, float[1,4,4,4] z"
WEIGHT = {"w": RNG.normal(0, 0.3, (4, 4, 1, 1)).astype(np.float32)}


def bits_of(**nodes):
    return Overrides(activation_bits={f"make_{name}": bits for name, bits in nodes.items()})


# Name -> (inputs, body, constants, overrides, "tensor=bits", "tensor>reader of a convert=bits").
CASES = {
    "no override": (ONE, "a = Abs (x) y = Neg (a)", {}, {}, "x=8 a=8 y=8", ""),
    "the producer keeps its width, the reader converts": (
        ONE,
        "a = Abs (x) b = Exp (a) y = Neg (b)",
        {},
        {"b": 16},
        "x=8 a=8 b=16 y=8",
        "a>make_b=16 b>make_y=8",
    ),
    "a graph input is as wide as its widest reader": (
        ONE,
        "a = Abs (x) b = Exp (x) y = Add (a, b)",
        {},
        {"b": 16},
        "x=16 a=8 b=16 y=8",
        "x>make_a=8 b>make_y=8",
    ),
    "also through views": (
        ONE,
        "t = Transpose (x) y = Exp (t)",
        {},
        {"y": 16},
        "x=16 t=16 y=16",
        "",
    ),
    "views go with their source": (
        ONE,
        "a = Abs (x) t = Transpose (a) m = MaxPool <kernel_shape = [2, 2]> (t) y = Neg (m)",
        {},
        {"a": 16},
        "x=16 a=16 t=16 m=16 y=8",
        "m>make_y=8",
    ),
    "a view that is named converts": (
        ONE,
        "a = Abs (x) t = Transpose (a) y = Neg (t)",
        {},
        {"t": 16},
        "x=8 a=8 t=16 y=8",
        "a>make_t=16 t>make_y=8",
    ),
    "a supergroup has one width": (
        ONE,
        "a = Abs (x) c = Conv (a, w) r = Relu (c) y = Neg (r)",
        WEIGHT,
        {"r": 16},
        "x=8 a=8 r=16 y=8",
        "a>make_c=16 r>make_y=8",
    ),
    "concat of one wide input": (
        PAIR,
        "a = Abs (x) b = Exp (z) y = Concat <axis = 1> (a, b)",
        {},
        {"a": 16},
        "x=16 a=16 z=8 b=8 y=8",
        "a>make_y=8",
    ),
    "concat of wide inputs only is wide": (
        PAIR,
        "a = Abs (x) b = Exp (z) y = Concat <axis = 1> (a, b)",
        {},
        {"a": 16, "b": 16},
        "x=16 a=16 z=16 b=16 y=16",
        "",
    ),
    "concat that is named": (
        PAIR,
        "a = Abs (x) b = Exp (z) y = Concat <axis = 1> (a, b)",
        {},
        {"y": 16},
        "x=8 a=8 z=8 b=8 y=16",
        "a>make_y=16 b>make_y=16",
    ),
}


def placed(model, overrides, *, bits=8, target="portable"):
    return place_sites(model.graph, load_target(target), activation_bits=bits, overrides=overrides)


def words(text):
    return dict(word.rsplit("=", 1) for word in text.split())


@pytest.mark.parametrize("name", CASES)
def test_widths(name, parse):
    inputs, body, constants, asked, values, converts = CASES[name]
    model = parse(f"g ({inputs}) => (float y) {{ {body} }}", **constants)
    placement = placed(model, bits_of(**asked))
    assert {s.tensor: str(s.bits or 8) for s in placement.activations} == words(values)
    found = {f"{c.tensor}>{node}": str(c.bits) for c in placement.converts for node, _ in c.uses}
    assert found == words(converts)


def test_inputs_of_a_wide_concat_have_its_encoding_after_the_convert(parse):
    inputs, body, _, asked, _, _ = CASES["concat that is named"]
    placement = placed(parse(f"g ({inputs}) => (float y) {{ {body} }}"), bits_of(**asked))
    assert {c.owner for c in placement.converts} == {"y"}
    owners = {s.tensor: s.owner for s in placement.activations}
    assert owners["a"] == "a", "at 8 bits it keeps its own range"


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fixed_range_is_that_of_the_width(bits, parse):
    other = 24 - bits
    model = parse("g (float[2,4] x) => (float y) { s = Softmax (x) t = Flatten (s) y = Neg (t) }")
    placement = placed(model, bits_of(s=other), bits=bits)
    by_tensor = {s.tensor: s for s in placement.activations}
    scales = {8: (2.0**-8, 0), 16: (2.0**-15, 32768)}
    assert by_tensor["s"].fixed == by_tensor["t"].fixed == scales[other]
    (convert,) = placement.converts
    assert (convert.tensor, convert.bits, convert.fixed) == ("t", bits, scales[bits])


def test_constants_have_the_width_of_their_node(parse):
    model = parse(
        "g (float[2,4] x) => (float y) { a = Mul (x, c) b = Add (a, c) y = Mul (b, c) }",
        c=np.float32([[1, 2, 3, 4]]),
    )
    placement = placed(model, bits_of(b=16))
    assert {(c.bits, c.uses) for c in placement.constants} == {
        (None, (("make_a", 1), ("make_y", 1))),
        (16, (("make_b", 1),)),
    }


def test_lookups_of_two_widths_have_tables_of_their_own(parse):
    model = parse(
        """g (int64[1,3] ids, int64[1,3] jds) => (float y, float u) {
             e = Gather (table, ids) y = Neg (e) f = Gather (table, jds) u = Exp (f) }""",
        table=RNG.normal(0, 1, (7, 4)).astype(np.float32),
    )
    placement = placed(model, bits_of(u=16))
    assert {(c.like, c.bits) for c in placement.constants} == {("e", None), ("f", 16)}
    assert placement.converts == ()


def test_a_node_that_stays_float_is_an_island_with_its_reason(parse):
    model = parse(
        f"g ({ONE}) => (float y) {{ c = Conv (x, w) r = Relu (c) y = Neg (r) }}", **WEIGHT
    )
    placement = placed(model, Overrides(floats={"make_c": "asked for"}))
    assert [(i.node, i.reason) for i in placement.islands] == [("make_c", "asked for")]
    assert placement.weights == ()
    assert "r" in {s.tensor for s in placement.activations}


CHAIN = """g (float[1,4,4,4] x) => (float y) {
    a = Abs (x) c = Conv (a, w, bias) r = Relu (c) n = Neg (r) y = Add (r, n) }"""


def chain(parse):
    return parse(CHAIN, w=WEIGHT["w"], bias=np.float32([0.5, -1, 2, 0.1]))


def samples_of(count=6):
    return [{"x": RNG.normal(0, 1, (1, 4, 4, 4)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("setting", ["int8", "int16"])
def test_the_wide_layer_computes_with_wide_values(setting, parse, quantize, run):
    """The numbers are those of an independent fake quantization, node by node."""
    bits = int(setting[3:])
    other = 24 - bits
    samples = samples_of()
    result = quantize(chain(parse), samples, activations=setting, overrides=bits_of(c=other))
    plan = result.plan
    encodings = {p.site.tensor: p.encoding for p in plan.activations}
    converts = {p.site.tensor: p.encoding for p in plan.converts}
    assert {t: e.bits for t, e in encodings.items()} == {
        "x": bits, "a": bits, "r": other, "n": bits, "y": bits,
    }  # fmt: skip
    assert {t: e.bits for t, e in converts.items()} == {"a": other, "r": bits}
    assert plan.weights[0].encoding.bits == 8

    def snap(values, encoding):
        shape = (-1, 1, 1, 1) if encoding.axis == 0 else ()
        scale = np.reshape(np.float32(encoding.scale), shape)
        zero = np.reshape(np.float64(encoding.zero_point), shape)
        q = np.clip(np.rint(values / scale) + zero, encoding.qmin, encoding.qmax)
        return ((q - zero) * scale).astype(np.float32)

    x = snap(samples[0]["x"], encodings["x"])
    a = snap(snap(np.abs(x), encodings["a"]), converts["a"])
    w = snap(WEIGHT["w"] if plan.weights[0].values is None else plan.weights[0].values,
             plan.weights[0].encoding)  # fmt: skip
    bias = np.float32([0.5, -1, 2, 0.1]).reshape(1, 4, 1, 1)
    c = np.einsum("oi,nihw->nohw", w[:, :, 0, 0], a) + bias
    r = snap(snap(np.maximum(c, 0), encodings["r"]), converts["r"])
    y = snap(r + snap(-r, encodings["n"]), encodings["y"])
    actual = run(result.model, samples[0])["y"]
    # One step of the output: float sums may fall on either side of a rounding boundary.
    assert np.abs(actual - y).max() <= encodings["y"].scale[0] * 1.001 + encodings["n"].scale[0]
    assert np.isclose(actual, y, atol=1e-6).mean() > 0.97


def test_what_is_converted_keeps_the_values_of_its_first_pair(parse, quantize, run):
    """16 bits hold what 8 bits gave to within half a step of theirs."""
    result = quantize(chain(parse), samples_of(), overrides=bits_of(c=16))
    (convert,) = [p for p in result.plan.converts if p.site.tensor == "a"]
    first = next(p for p in result.plan.activations if p.site.tensor == "a").encoding
    held = (np.arange(256) - first.zero_point[0]) * first.scale[0]
    held = held[(held <= convert.encoding.range[1]) & (held >= convert.encoding.range[0])]
    steps = held / convert.encoding.scale[0]
    assert np.abs(steps - np.rint(steps)).max() <= 0.5
    assert convert.encoding.scale[0] < first.scale[0] / 50


def test_the_summary_tells_widths_only_where_they_differ(parse, quantize):
    told = quantize(chain(parse), samples_of(), overrides=bits_of(c=16)).report.summary_lines()
    assert "nodes: 3 with 8 bits, 2 with 16 bits; 2 converts where widths meet" in told
    plain = quantize(chain(parse), samples_of()).report.summary_lines()
    assert not any(line.startswith("nodes:") for line in plain)


def test_the_same_model_whatever_the_order_of_requests(parse, quantize):
    samples = samples_of()
    one = quantize(chain(parse), samples, overrides=bits_of(c=16, n=16))
    two = quantize(chain(parse), samples, overrides=bits_of(n=16, c=16))
    assert one.plan.to_dict() == two.plan.to_dict()


def test_the_state_of_a_wide_lstm_has_one_encoding_also_after_its_convert(parse):
    model = parse(
        """g (float[3,1,4] x, float[1,1,5] h0, float[1,1,5] c0) => (float y, float h, float c) {
             a = Abs (h0) s, h, c = LSTM <hidden_size = 5> (x, w, r, , , a, c0) y = Neg (s) }""",
        w=RNG.normal(0, 0.3, (1, 20, 4)).astype(np.float32),
        r=RNG.normal(0, 0.3, (1, 20, 5)).astype(np.float32),
    )
    placement = placed(model, bits_of(s=16))
    owners = {s.tensor: (s.owner, s.bits or 8) for s in placement.activations}
    assert owners["s"] == owners["h"] == ("s", 16)
    assert owners["a"] == ("a", 8)
    converts = {(c.tensor, c.owner, c.bits) for c in placement.converts}
    assert converts == {("a", "s", 16), ("s", "s", 8)}
