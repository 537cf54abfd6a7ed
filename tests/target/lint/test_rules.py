"""Each rule: what it finds, where, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.target.lint import LINT_TARGETS, RULES, Severity, lint_graph

OLD, NEW = "htp-v68", "htp-v73"
WEIGHT = {
    "w_i": np.arange(6 * 4 * 9, dtype=np.int64).reshape(6, 4, 3, 3).astype(np.int8),
    "w_s": np.float32(1 / 64),
    "w_z": np.int8(0),
}
CONV = "w_d = DequantizeLinear (w_i, w_s, w_z) "


def test_every_rule_says_what_it_is_about_and_has_its_own_name():
    assert len({rule.name for rule in RULES}) == len(RULES) == 8
    assert all(rule.about for rule in RULES)


@pytest.mark.parametrize("target", LINT_TARGETS)
def test_a_sound_model_has_no_findings(target, qdq_graph):
    text = f"{CONV} y = Conv (x_d, w_d)"
    assert lint_graph(qdq_graph(text, **WEIGHT), target) == ()


def test_linting_changes_nothing(qdq_graph):
    model = qdq_graph("y = Sinh (x_d)")
    before = str(model)
    lint_graph(model, NEW)
    assert str(model) == before


class TestDynamicShape:
    def test_an_open_input_is_named(self, parse, found):
        model = parse("g (float[N,3] x, float[2] z) => (float y) { y = Relu (x) }")
        (one,) = found(model, "dynamic_shape")
        assert (one.tensor, one.node, one.severity) == ("x", None, Severity.ERROR)
        assert "Nx3" in one.why
        assert "--input-spec x:" in one.remedy

    def test_a_shape_that_depends_on_values_is_told_at_the_first_node(self, parse, found):
        text = "g (float[4] x) => (int64 z) { y = NonZero (x) z = Neg (y) }"
        (one,) = found(parse(text), "dynamic_shape")
        assert (one.node, one.op_type, one.tensor) == ("make_y", "NonZero", "y")

    def test_fixed_shapes_are_fine(self, parse, found):
        assert not found(parse("g (float[4] x) => (float y) { y = Relu (x) }"), "dynamic_shape")


class TestUnsupportedOp:
    def test_an_op_without_a_kernel(self, qdq_graph, found):
        (one,) = found(qdq_graph("y = Sinh (x_d)"), "unsupported_op")
        assert (one.node, one.op_type, one.severity) == ("make_y", "Sinh", Severity.ERROR)

    def test_an_op_of_another_domain(self, parse, found):
        model = parse("g (float[4] x) => (float y) { y = Relu (x) }")
        node = next(iter(model.graph))
        node.domain, node.op_type = "ai.example", "Odd"
        (one,) = found(model, "unsupported_op")
        assert "ai.example.Odd" in one.why

    def test_an_op_that_is_taken_only_between_pairs(self, parse, qdq_graph, found):
        (one,) = found(parse("g (float[4] x) => (float y) { y = Asin (x) }"), "unsupported_op")
        assert "only between Q/DQ pairs" in one.why
        assert not found(qdq_graph("y = Asin (x_d)"), "unsupported_op")

    def test_erf_is_taken_as_part_of_a_float_gelu_only(self, parse, qdq_graph, found):
        text = "d = Div (x, r) e = Erf (d) a = Add (e, o) t = Mul (x, a)"
        gelu = f"g (float[4] x) => (float y) {{ {text} y = Mul (t, h) }}"
        numbers = {"r": np.float32(2**0.5), "o": np.float32(1), "h": np.float32(0.5)}
        assert not found(parse(gelu, **numbers), "unsupported_op")
        (one,) = found(qdq_graph("y = Erf (x_d)"), "unsupported_op")
        assert "Gelu" in one.remedy

    def test_what_is_documented_and_was_not_taken_is_a_warning(self, parse, found):
        model = parse("g (float[4,5] x) => (float y) { y = ReduceProd <axes = [1]> (x) }")
        (one,) = found(model, "unsupported_op")
        assert one.severity is Severity.WARNING

    def test_weights_are_folded_before_ops_are_looked_at(self, parse, found):
        text = "g (float[4] x) => (float y) { h = Sinh (c) y = Add (x, h) }"
        assert not found(parse(text, c=np.ones(4, np.float32)), "unsupported_op")


class TestUnsupportedDtype:
    def test_float64(self, parse, found):
        (one, two) = found(
            parse("g (double[4] x) => (double y) { y = Identity (x) }"), "unsupported_dtype"
        )
        assert (one.tensor, one.node) == ("x", None)
        assert (two.tensor, two.node) == ("y", "make_y")
        assert "--truncate_64bit_io" in one.remedy

    def test_four_bit_activations(self, parse, found):
        text = """g (float[4] x) => (float y)
        { q = QuantizeLinear <output_dtype = 21> (x, s) y = DequantizeLinear (q, s) }"""
        (one,) = found(parse(text, opset=21, s=np.float32(0.1)), "unsupported_dtype")
        assert "uint4" in one.why
        assert one.op_type == "QuantizeLinear"


class TestUnusableEncoding:
    def test_a_scale_per_channel_of_an_activation(self, parse, found):
        text = """g (float[1,4,6,6] x) => (float y)
        { q = QuantizeLinear <axis = 1> (x, s, z) y = DequantizeLinear <axis = 1> (q, s, z) }"""
        model = parse(text, s=np.full(4, 0.1, np.float32), z=np.zeros(4, np.uint8))
        assert {it.op_type for it in found(model, "unusable_encoding")} == {
            "QuantizeLinear",
            "DequantizeLinear",
        }

    def test_a_computed_scale(self, parse, found):
        text = """g (float[4] x, float[1] t) => (float y)
        { s = Squeeze (t) q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"""
        model = parse(text, z=np.uint8(0))
        assert all("computed" in it.why for it in found(model, "unusable_encoding"))
        assert len(found(model, "unusable_encoding")) == 2

    def test_a_weight_that_is_wider_than_the_activation(self, qdq_graph, found):
        wide = WEIGHT | {"w_i": WEIGHT["w_i"].astype(np.int16), "w_z": np.int16(0)}
        (one,) = found(qdq_graph(f"{CONV} y = Conv (x_d, w_d)", **wide), "unusable_encoding")
        assert (one.op_type, one.node) == ("Conv", "make_y")
        assert "int16" in one.why


class TestBiasOverflow:
    def graph(self, qdq_graph, bias, dtype="uint16", scale=1 / 16384):
        return qdq_graph(
            f"{CONV} y = Conv (x_d, w_d, b)",
            dtype=dtype,
            encodings={"x": (scale, 32768 if dtype == "uint16" else 128)},
            **WEIGHT,
            b=np.float32([0, 0, 0, 0, bias, 0]),
        )

    # The largest int32 times 2^-14 * 2^-6.
    @pytest.mark.parametrize(("bias", "count"), [(2047.9, 0), (2048.0, 1), (-3000.0, 1)])
    def test_the_limit(self, bias, count, qdq_graph, found):
        findings = found(self.graph(qdq_graph, bias), "bias_overflow")
        assert len(findings) == count
        assert all("channel 4" in it.why and it.node == "make_y" for it in findings)

    def test_wider_steps_have_room(self, qdq_graph, found):
        assert not found(self.graph(qdq_graph, 3000.0, "uint8", 1 / 64), "bias_overflow")


class TestDynamicMatMul:
    def graph(self, qdq_graph, zero, dtype="uint8"):
        return qdq_graph(
            "y = MatMul (x_d, z_d)",
            inputs="x z",
            shape="1,2,8,8",
            dtype=dtype,
            encodings={"z": (1 / 64, zero)},
        )

    def test_an_asymmetric_second_operand_before_v73(self, qdq_graph, found):
        (one,) = found(self.graph(qdq_graph, 100), "dynamic_matmul", OLD)
        assert (one.severity, one.node) == (Severity.WARNING, "make_y")
        assert "htp-v68" in one.remedy
        assert not found(self.graph(qdq_graph, 128), "dynamic_matmul", OLD)
        assert not found(self.graph(qdq_graph, 100), "dynamic_matmul", NEW)

    def test_sixteen_signed_bits(self, qdq_graph, found):
        (one,) = found(self.graph(qdq_graph, 5, "int16"), "dynamic_matmul", NEW)
        assert one.severity is Severity.ERROR
        assert not found(self.graph(qdq_graph, 0, "int16"), "dynamic_matmul", NEW)
        (old,) = found(self.graph(qdq_graph, 0, "int16"), "dynamic_matmul", OLD)
        assert "int16 by int16" in old.why

    def test_a_weight_is_no_second_activation(self, qdq_graph, found):
        weight = {"w_i": np.ones((8, 8), np.uint8), "w_s": np.float32(1), "w_z": np.uint8(3)}
        text = f"{CONV} y = MatMul (x_d, w_d)"
        assert not found(qdq_graph(text, shape="2,8", **weight), "dynamic_matmul", OLD)


class TestBrokenSupergroup:
    PAIR = "h_q = QuantizeLinear (h, y_s, y_z) h_d = DequantizeLinear (h_q, y_s, y_z)"

    def test_a_pair_between_an_op_and_a_clamp_that_is_absorbed(self, qdq_graph, found):
        text = f"{CONV} h = Conv (x_d, w_d) {self.PAIR} y = Relu (h_d)"
        model = qdq_graph(text, encodings={"y": (1 / 64, 0)}, **WEIGHT)
        (one,) = found(model, "broken_supergroup")
        assert (one.severity, one.node, one.op_type) == (Severity.WARNING, "make_y", "Relu")
        assert "'make_h' (Conv)" in one.why

    def test_no_pair_and_a_clamp_that_is_not(self, qdq_graph, found):
        text = f"{CONV} h = Conv (x_d, w_d) y = Relu (h)"
        (one,) = found(qdq_graph(text, **WEIGHT), "broken_supergroup")
        assert (one.severity, one.op_type) == (Severity.WARNING, "Relu")
        biased = text.replace("w_d) y", "w_d, b) y")
        (two,) = found(qdq_graph(biased, **WEIGHT, b=np.ones(6, np.float32)), "broken_supergroup")
        assert "refuses" in two.why
        assert "refuses" not in one.why
        assert "qdq compile" in two.remedy
        assert not found(
            qdq_graph(text, encodings={"y": (1 / 64, 0)}, **WEIGHT), "broken_supergroup"
        )

    def test_a_pair_that_is_needed_is_no_fault(self, qdq_graph, found):
        text = f"{CONV} h = Conv (x_d, w_d) {self.PAIR} y = Relu (h_d)"
        assert not found(qdq_graph(text, **WEIGHT), "broken_supergroup")

    @pytest.mark.parametrize(("high", "count"), [(1.9, 1), (2.0, 0), (6.0, 0)])
    def test_a_clip_by_its_upper_end(self, high, count, qdq_graph, found):
        # 255 steps of 1/128 end at 1.99.
        text = f"{CONV} h = Conv (x_d, w_d) y = Clip (h, low, high)"
        model = qdq_graph(
            text,
            encodings={"y": (1 / 128, 0)},
            **WEIGHT,
            low=np.float32(0),
            high=np.float32(high),
        )
        assert len(found(model, "broken_supergroup")) == count

    def test_after_an_add_there_is_fp16(self, qdq_graph, found):
        model = qdq_graph("h = Add (x_d, x_d) y = Relu (h)")
        assert found(model, "broken_supergroup", NEW)[0].severity is Severity.WARNING
        assert found(model, "broken_supergroup", OLD)[0].severity is Severity.ERROR


class TestFloatIsland:
    def test_ops_that_float_tensors_join_are_one_island(self, qdq_graph, found):
        model = qdq_graph("a = Exp (x_d) b = Neg (a) y = Tanh (b)")
        (one,) = found(model, "float_island", NEW)
        assert (one.severity, one.node, one.op_type) == (Severity.WARNING, "make_a", "Exp")
        assert one.tensor == "a"
        assert "'make_b' (Neg), 'make_y' (Tanh)" in one.why
        assert found(model, "float_island", OLD)[0].severity is Severity.ERROR

    def test_a_float_output_makes_its_op_float(self, parse, found):
        text = """g (float[4] x) => (float y)
        { q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) y = Tanh (d) }"""
        model = parse(text, s=np.float32(0.1), z=np.uint8(0))
        (one,) = found(model, "float_island")
        assert (one.node, one.tensor) == ("make_y", "y")

    def test_a_float_model_is_no_island_where_there_is_fp16(self, parse, found):
        model = parse("g (float[4] x) => (float y) { a = Exp (x) y = Tanh (a) }")
        assert not found(model, "float_island", NEW)
        (one,) = found(model, "float_island", OLD)
        assert "QCS6490" in one.why

    def test_a_bias_in_float_belongs_to_its_matmul(self, qdq_graph, found):
        weight = {"w_i": np.ones((8, 6), np.int8), "w_s": np.float32(1), "w_z": np.int8(0)}
        text = f"{CONV} h = MatMul (x_d, w_d) y = Add (h, b)"
        model = qdq_graph(text, shape="2,8", **weight, b=np.ones(6, np.float32))
        assert not found(model, "float_island", OLD)

    def test_index_arithmetic_is_left_alone(self, qdq_graph, found):
        text = """n = Shape (x_d) c = Cast <to = 1> (n) t = Mul (c, c) i = Cast <to = 7> (t)
        k = Min (i, n) y = Relu (x_d)"""
        islands = found(qdq_graph(text), "float_island")
        # Float between integers is computed in fp16, and is told as that.
        assert [it.op_type for it in islands] == ["Cast"]
