"""Which tensors share an encoding."""

from __future__ import annotations

import numpy as np
import pytest

PAIR = "float[1,4,4,4] x, float[1,4,4,4] z"
ONE = "float[1,4,4,4] x"
SIZE = {"size": np.array([1, 64])}
SCALES = {"scales": np.float32([1, 1, 2, 2])}

# Name -> (inputs, body, constants, "value=owner" for all sites), portable at 8 bits.
CASES = {
    "a view has its source's": (ONE, "a = Abs (x) y = Reshape (a, size)", SIZE, "x=x a=a y=a"),
    "views of views": (
        ONE,
        "a = Abs (x) b = Transpose (a) c = Flatten (b) y = Neg (c)",
        {},
        "x=x a=a b=a c=a y=y",
    ),
    "views before all compute": (
        ONE,
        "b = Transpose (x) c = Flatten (b) y = Neg (c)",
        {},
        "x=x b=x c=x y=y",
    ),
    "views alone need none": (ONE, "a = Transpose (x) y = Flatten (a)", {}, ""),
    "all parts of a split": (
        ONE,
        "a = Abs (x) p, q = Split <axis = 1> (a) y = Add (p, q)",
        {},
        "x=x a=a p=a q=a y=y",
    ),
    "pooling": (
        ONE,
        """m = MaxPool <kernel_shape = [2, 2]> (x) a = AveragePool <kernel_shape = [2, 2]> (m)
           r = Resize (a, , scales) y = Neg (r)""",
        SCALES,
        "x=x m=x a=x r=x y=y",
    ),
    "concat": (
        PAIR,
        "a = Abs (x) b = Neg (z) y = Concat <axis = 1> (a, b)",
        {},
        "x=x z=z a=y b=y y=y",
    ),
    "concat of inputs": (PAIR, "y = Concat <axis = 1> (x, z)", {}, "x=y z=y y=y"),
    "concat through a view": (
        PAIR,
        """a = Abs (x) t = Transpose (a) b = Neg (z) y = Concat <axis = 1> (t, b)""",
        {},
        "x=x z=z a=y t=y b=y y=y",
    ),
    "concat of a concat": (
        PAIR,
        """a = Abs (x) b = Neg (z) c = Concat <axis = 1> (a, b) d = Exp (x)
           y = Concat <axis = 1> (c, d)""",
        {},
        "x=x z=z a=y b=y c=y d=y y=y",
    ),
    "concat with another reader": (
        PAIR,
        "a = Abs (x) b = Neg (z) c = Exp (a) y = Concat <axis = 1> (a, b, c)",
        {},
        "x=x z=z a=a b=y c=y y=y",
    ),
    "concat of the same twice": (
        ONE,
        "a = Abs (x) y = Concat <axis = 1> (a, a)",
        {},
        "x=x a=a y=y",
    ),
    "concat of fixed ranges": (
        PAIR,
        "a = Sigmoid (x) b = Softmax (z) y = Concat <axis = 1> (a, b)",
        {},
        "x=x z=z a=a b=b y=y",
    ),
    "concat of fixed and free": (
        PAIR,
        "a = Sigmoid (x) b = Neg (z) y = Concat <axis = 1> (a, b)",
        {},
        "x=x z=z a=a b=y y=y",
    ),
    "scatter": (
        PAIR,
        "a = Abs (x) b = Neg (z) y = ScatterElements <axis = 1> (a, at, b)",
        {"at": np.zeros((1, 4, 4, 4), np.int64)},
        "x=x z=z a=y b=y y=y",
    ),
    "not clip, pad, where or max": (
        PAIR,
        """c = Clip (x, low) p = Pad (c, pads) w = Where (k, p, z) y = Max (w, z)""",
        {"low": np.float32(0), "pads": np.zeros(8, np.int64), "k": np.array(True)},
        "x=x z=z c=c p=p w=w y=y",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_owners(case, parse, place):
    inputs, body, constants, expected = CASES[case]
    placement = place(parse(f"g ({inputs}) => (float y) {{ {body} }}", **constants))
    found = {f"{site.tensor}={site.owner}" for site in placement.activations}
    assert found == set(expected.split())
    assert all(site.rule for site in placement.activations)


def test_tflite_ties_shared_inputs_of_concat(parse, place):
    inputs, body, constants, _ = CASES["concat with another reader"]
    model = parse(f"g ({inputs}) => (float y) {{ {body} }}", **constants)
    owners = {site.tensor: site.owner for site in place(model, target="tflite").activations}
    assert owners["a"] == owners["b"] == owners["c"] == "y"


def test_every_branch_of_a_source_is_reached(parse, place):
    model = parse(
        f"""g ({ONE}) => (float y, float d) {{
            b = Transpose (x) c = Flatten (x) d = Flatten (b) y = Neg (c) }}"""
    )
    owners = {site.tensor: site.owner for site in place(model).activations}
    assert owners == {"x": "x", "b": "x", "c": "x", "d": "x", "y": "y"}


@pytest.mark.parametrize(
    "case",
    [
        ("portable", "Sigmoid", 8, (2.0**-8, 0)),
        ("portable", "Softmax", 8, (2.0**-8, 0)),
        ("portable", "Tanh", 8, (2.0**-7, 128)),
        ("portable", "Sigmoid", 16, (2.0**-15, 32768)),
        ("portable", "Tanh", 16, (2.0**-15, 32768)),
        ("tflite", "Tanh", 8, (2.0**-7, 128)),
        ("tflite", "Softmax", 16, (2.0**-15, 32768)),
        ("htp-v68", "Softmax", 8, None),
        ("ort-x86", "Sigmoid", 8, None),
        ("portable", "Relu", 8, None),
    ],
)
def test_fixed_ranges(case, parse, place):
    target, op_type, bits, fixed = case
    model = parse(f"g ({ONE}) => (float y, float v) {{ y = {op_type} (x) v = Flatten (y) }}")
    placement = place(model, target=target, bits=bits)
    sites = {site.tensor: site for site in placement.activations}
    assert sites["y"].fixed == sites["v"].fixed == fixed
    assert sites["x"].fixed is None
    assert set(placement.owners) == ({"x"} if fixed else {"x", "y"})


def test_a_concat_of_equal_fixed_ranges_is_fixed(parse, place):
    inputs, body, constants, _ = CASES["concat of fixed ranges"]
    placement = place(parse(f"g ({inputs}) => (float y) {{ {body} }}", **constants))
    assert {s.tensor: s.fixed for s in placement.activations}["y"] == (2.0**-8, 0)


def test_the_second_operand_of_v68_is_symmetric(parse, place):
    text = f"g ({PAIR}) => (float y) {{ t = Transpose (z) y = MatMul (x, t) }}"
    symmetric = {
        target: {s.tensor for s in place(parse(text), target=target).activations if s.symmetric}
        for target in ("htp-v68", "portable")
    }
    assert symmetric == {"htp-v68": {"z", "t"}, "portable": set()}


def test_embedding_tables_follow_their_lookups(parse, place):
    model = parse(
        """g (int64[1,3] ids, int64[1,3] types) => (float y) {
            e = Gather (table, ids) f = Gather (table, types) y = MatMul (e, w) n = Neg (f) }""",
        table=np.ones((5, 2), np.float32),
        w=np.ones((2, 2), np.float32),
    )
    model.graph.outputs.append(next(n for n in model.graph if n.op_type == "Neg").outputs[0])
    placement = place(model)
    owners = {site.tensor: site.owner for site in placement.activations}
    assert owners == {"e": "e", "f": "e", "y": "y", "n": "n"}
    assert [(site.tensor, site.like, site.uses) for site in placement.constants] == [
        ("table", "e", (("make_e", 0), ("make_f", 0)))
    ]


def test_lookups_in_a_concat_take_its_encoding(parse, place):
    model = parse(
        """g (int64[1,3] ids, float[1,3,2] x) => (float y) {
            e = Gather (table, ids) a = Neg (x) y = Concat <axis = 1> (e, a) }""",
        table=np.ones((5, 2), np.float32),
    )
    placement = place(model)
    owners = {site.tensor: site.owner for site in placement.activations}
    assert owners == {"x": "x", "e": "y", "a": "y", "y": "y"}
    assert [(site.tensor, site.like) for site in placement.constants] == [("table", "y")]
