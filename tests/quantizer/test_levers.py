"""Levers: what expressions match, through preparation, and what they do to the placement."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from qdq.base.errors import OptionError, PrecisionError
from qdq.base.options import JobKind, parse_options
from qdq.quantizer import place_model

RNG = np.random.default_rng(5)


def floats(*shape):
    return RNG.normal(0, 0.4, shape).astype(np.float32)


NET = """g (float[1,3,6,6] x) => (float y) {
    i = Identity (x)
    c = Conv <pads = [1,1,1,1]> (i, w)
    bn = BatchNormalization (c, gain, shift, mean, var)
    r = Relu (bn)
    three = Add (r, threes)
    six = Clip (three, zero, sixes)
    hs = Mul (r, six)
    h = Div (hs, sixes)
    a = Add (h, r)
    t = Transpose <perm = [0,2,3,1]> (a)
    u = Transpose <perm = [0,3,1,2]> (t)
    g = GlobalAveragePool (u)
    f = Flatten (g)
    l = Gemm (f, v)
    y = Softmax (l) }"""
CONSTANTS = {
    "w": floats(4, 3, 3, 3),
    "gain": floats(4),
    "shift": floats(4),
    "mean": floats(4),
    "var": np.abs(floats(4)) + np.float32(1),
    "threes": np.float32(3),
    "zero": np.float32(0),
    "sixes": np.float32(6),
    "v": floats(4, 5),
}


@pytest.fixture
def placed(parse):
    def place(options, *, weights="int8", activations="int8", text=NET, constants=CONSTANTS):
        return place_model(
            parse(text, **constants),
            weights=weights,
            activations=activations,
            options=parse_options(JobKind.QUANTIZE, options),
        )

    return place


def origins_of(placed):
    return {
        name: [node.name.removeprefix("make_") for node in nodes]
        for name, nodes in placed.origins.items()
    }


def test_a_prepared_node_knows_the_given_ones_it_computes(placed):
    done = placed("")
    by_type = {node.op_type: origins_of(done)[node.name] for node in done.model.graph}
    assert by_type == {
        "Conv": ["c", "bn"],
        "Relu": ["r"],
        "HardSwish": ["three", "six", "hs", "h"],
        "Add": ["a"],
        "GlobalAveragePool": ["g"],
        "Flatten": ["f"],
        "Gemm": ["l"],
        "Softmax": ["y"],
    }


@pytest.mark.parametrize(
    ("expression", "op_types"),
    [
        ("make_bn", {"Conv"}),
        ("make_(three|six)", {"HardSwish"}),
        ("make_[cb].*", {"Conv"}),
        ("make_.", {"Conv", "Relu", "HardSwish", "Add", "GlobalAveragePool", "Flatten", "Gemm",
                    "Softmax"}),
    ],
)  # fmt: skip
def test_names_are_those_of_the_given_model(expression, op_types, placed):
    done = placed(f"--exclude_nodes {expression}")
    (match,) = done.matches
    types = {node.name: node.op_type for node in done.model.graph}
    assert {types[name] for name in match.nodes} == op_types
    reasons = {i.node: i.reason for i in done.placement.islands}
    assert set(match.nodes) <= set(reasons)
    assert all(f"--exclude_nodes {expression}" in reasons[name] for name in match.nodes)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ("--exclude_nodes make_gen", ["--exclude_nodes", "'make_gen'", "'make_g'"]),
        ("--exclude_nodes make_", ["no node's whole name matches", "'make_"]),
        ("--override MAKE_c=int16", ["--override", "'make_c'"]),
        ("--override make_i=int16", ["computed once and for all or dropped", "'make_i'"]),
        ("--exclude_op_types Sofmax", ["no op of type 'Sofmax'", "'Softmax'"]),
        ("--range q=0,1", ["'q' is no tensor that gets an encoding", "nearest"]),
        ("--range bn=0,1", ["'bn' is no tensor"]),
        ("--range a=0,1 --range u=0,2", ["'u'"]),
        ("--range g=0,1 --range f=0,2", ["'f' and 'g' share one encoding"]),
    ],
)
def test_what_matches_nothing_is_an_error_that_names_near_names(options, parts, placed):
    with pytest.raises(OptionError) as caught:
        placed(options)
    for part in parts:
        assert part in str(caught.value)


def test_the_last_width_counts_and_exclusion_is_above_all(placed):
    done = placed(
        "--override make_.=int16 --override make_l=int8 --override make_g=float "
        "--exclude_nodes make_a"
    )
    bits = {node.op_type: node.bits for node in done.placement.nodes}
    assert (bits["Gemm"], bits["Softmax"], bits["Conv"]) == (8, 16, 16)
    reasons = {i.op_type: i.reason for i in done.placement.islands}
    assert "--override make_g" in reasons["GlobalAveragePool"]
    assert "--exclude_nodes make_a" in reasons["Add"]


def test_op_types_of_the_prepared_graph_come_first(placed):
    assert [i.op_type for i in placed("--exclude_op_types Add").placement.islands] == ["Add"]
    folded = placed("--exclude_op_types BatchNormalization").placement
    assert [i.op_type for i in folded.islands] == ["Conv"]


def test_weights_of_eight_bit_nodes_among_sixteen(placed):
    done = placed("--override make_c=int8", weights="int16", activations="int16")
    bits = {site.tensor: site.bits for site in done.placement.weights}
    assert list(bits.values()) == [8, None]


def test_one_scale_for_each_weight(placed):
    assert [s.axis for s in placed("").placement.weights] == [0, 1]
    assert [s.axis for s in placed("--per_channel false").placement.weights] == [None, None]


@pytest.mark.parametrize("target", ["tflite", "htp-v68"])
def test_a_width_that_the_target_lacks_is_refused(target, placed):
    options = f"--quantize_target {target} --override make_c=int16"
    if target == "htp-v68":
        assert placed(options, weights="int4").placement.converts
        return
    with pytest.raises(PrecisionError, match="w4a16"):
        placed(options, weights="int4")


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_given_range_is_kept_by_all_that_share_it(activations, placed, quantize, parse, run):
    samples = [{"x": floats(1, 3, 6, 6)} for _ in range(4)]
    done = quantize(
        parse(NET, **CONSTANTS), samples, activations=activations, options="--range g=-1.5,2"
    )
    sites = {p.site.tensor: p for p in done.plan.activations}
    assert sites["g"].scheme == sites["f"].scheme == "given"
    low, high = sites["f"].encoding.range
    step = sites["f"].encoding.scale[0]
    if activations == "int8":
        assert (low, high) == (pytest.approx(-1.5, abs=step), pytest.approx(2, abs=step))
    else:
        assert high == pytest.approx(2, abs=step) and low == pytest.approx(-2, abs=2 * step)
    assert "range given by --range g" in sites["g"].site.rule
    assert sites["l"].scheme != "given"


def test_a_given_range_also_of_a_convert(placed):
    done = placed("--range r=0,8 --override make_a=int16")
    (convert,) = [c for c in done.placement.converts if c.tensor == "r"]
    assert convert.given and convert.fixed is not None
    assert convert.fixed[0] * 32767 == pytest.approx(8, rel=1e-6)


PROTO = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 13]> {NET}')
PROTO.graph.initializer.extend(
    numpy_helper.from_array(np.asarray(a), n) for n, a in CONSTANTS.items()
)
for _node in PROTO.graph.node:
    _node.name = f"make_{_node.output[0]}"
NAMES = ["c", "r", "three", "six", "hs", "h", "a", "g", "f", "l", "y"]
WIDTHS = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from(["int8", "int16", "float"]), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(WIDTHS, st.sampled_from(["int8", "int16"]))
def test_whatever_is_asked_each_node_reads_and_gives_its_own_width(widths, activations):
    """The promise of the placement, checked by walking the graph."""
    words = " ".join(f"--override make_{name}={value}" for name, value in widths.items())
    done = place_model(
        ir.from_proto(PROTO),
        weights="int8",
        activations=activations,
        options=parse_options(JobKind.QUANTIZE, words),
    )
    placement, default = done.placement, int(activations[3:])
    made = {site.tensor: site.bits or default for site in placement.activations}
    converted = {(node, at): site.bits for site in placement.converts for node, at in site.uses}
    bits = {node.node: node.bits for node in placement.nodes}
    inner = {group[i] for group in placement.fused for i in range(len(group) - 1)}
    for node in done.model.graph:
        if node.name not in bits:
            assert not any(use == node.name for use, _ in converted)
            continue
        for at, value in enumerate(node.inputs):
            if value is not None and value.name in made:
                assert converted.get((node.name, at), made[value.name]) == bits[node.name]
        if node.name not in inner:
            assert all(made.get(v.name, bits[node.name]) == bits[node.name] for v in node.outputs)
    for group in placement.fused:
        assert len({bits[name] for name in group}) == 1
