"""The calibration advisor: data made to trigger each advice, and data that trigger none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qdq.dataset import open_samples
from qdq.quantizer.advisor import SampleTrace, advise, input_facts
from qdq.quantizer.advisor.agreement import range_agreement
from qdq.quantizer.advisor.outliers import copies, outlier_samples
from qdq.quantizer.advisor.trace import MOST_TRACED
from qdq.quantizer.encoding import asymmetric_encoding
from qdq.quantizer.placement import ActivationSite
from qdq.quantizer.plan import PlannedActivation

SITES = 12


def smooth(count, seed=0, side=24):
    """Images as nature has them: neighbours alike, each with a brightness of its own."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, 3, side + 8, side + 8))
    for axis in (2, 3):
        images = sum(np.roll(images, shift, axis) for shift in range(5))
    images = images[:, :, 4:-4, 4:-4] / images.std()
    brightness = rng.uniform(-0.5, 0.5, (count, 1, 1, 1))
    return (np.tanh(images) + brightness)[:, None].astype(np.float32)


def facts(values, name="x"):
    with open_samples({name: list(values)}) as samples:
        (found,) = input_facts(samples, range(len(samples)))
    return found


def trace(low, high, samples=None):
    """A trace of low, high: [sites, samples]."""
    collected = SampleTrace()
    for i, sample in enumerate(range(low.shape[1]) if samples is None else samples):
        for site in range(low.shape[0]):
            collected.add(f"t{site}", sample, float(low[site, i]), float(high[site, i]))
    return collected


def steady(count=64, seed=3, sites=SITES):
    """Ranges of samples that differ a little, as those of a trained network do."""
    rng = np.random.default_rng(seed)
    gains = rng.uniform(0.8, 1.2, (1, count)) * rng.uniform(0.9, 1.1, (sites, count))
    size = rng.uniform(1, 20, (sites, 1))
    return -size * gains * rng.uniform(0.9, 1.1, (sites, count)), size * gains


def kinds(advice):
    return [finding.kind for finding in advice.findings]


class TestNoise:
    @pytest.mark.parametrize("kind", ["uniform", "normal"])
    @pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 16, 16, 3), (1, 400), (1, 20, 33)])
    @pytest.mark.parametrize("count", [1, 2, 20])
    def test_noise_is_told(self, count, shape, kind):
        rng = np.random.default_rng(1)
        draw = rng.random if kind == "uniform" else rng.standard_normal
        values = [draw(shape).astype(np.float32) for _ in range(count)]
        assert facts(values).noise == kind

    def test_noise_under_the_usual_preprocessing(self):
        rng = np.random.default_rng(2)
        pixels = rng.integers(0, 256, (8, 1, 3, 32, 32)) / 255
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        values = (pixels - mean.reshape(1, 1, 3, 1, 1)) / deviation.reshape(1, 1, 3, 1, 1)
        assert facts(values.astype(np.float32)).noise == "uniform"

    def test_random_integers(self):
        values = np.random.default_rng(3).integers(0, 30000, (20, 1, 32))
        assert facts(values).noise == "uniform"

    @pytest.mark.parametrize("count", [1, 3, 20])
    def test_images_are_no_noise(self, count):
        assert facts(smooth(count)).noise == ""

    def test_noise_of_a_different_loudness_each_time_is_data(self):
        rng = np.random.default_rng(4)
        values = rng.standard_normal((20, 1, 2000)) + rng.normal(0, 0.3, (20, 1, 1))
        assert facts(values.astype(np.float32)).noise == ""

    def test_words_are_no_noise(self):
        # Words by Zipf's law, then padding.
        words = np.random.default_rng(5).zipf(1.4, (20, 1, 32)) % 30000
        words[:, :, 24:] = 0
        assert facts(words).noise == ""

    def test_too_few_values_tell_nothing(self):
        assert facts(np.random.default_rng(6).random((4, 1, 10), np.float32)).noise == ""

    def test_masks_are_no_noise(self):
        assert facts(np.random.default_rng(7).random((20, 1, 64)) > 0.5).noise == ""


class TestConstantInputs:
    def test_one_value(self):
        found = facts(np.full((5, 1, 3, 8, 8), 0.5, np.float32))
        assert found.constant == 0.5
        advice = advise(SampleTrace(), [found], [])
        assert kinds(advice) == ["constant_input"]
        assert "Input 'x' is 0.5 everywhere" in advice.findings[0].message

    def test_a_mask_of_ones_may_be_constant(self):
        found = facts(np.ones((5, 1, 32), np.int64))
        assert found.constant == 1
        assert not advise(SampleTrace(), [found], []).findings

    def test_one_other_value_is_enough(self):
        values = np.zeros((5, 1, 40), np.float32)
        values[4, 0, 7] = 1
        assert facts(values).constant is None


class TestAgreement:
    def test_steady_ranges_agree(self):
        found = range_agreement(trace(*steady()).table())
        assert 0.8 < found.median <= 1
        assert not advise(trace(*steady()), [], []).findings

    def test_heavy_tails_do_not(self):
        rng = np.random.default_rng(0)
        size = np.abs(rng.standard_cauchy((SITES, 16)))
        advice = advise(trace(-size, size), [], [])
        assert "few_samples" in kinds(advice)
        message = advice.findings[kinds(advice).index("few_samples")].message
        assert "more samples would give steadier ranges" in message
        assert advice.agreement.least[0][0] in message

    def test_the_figure_is_what_it_says(self):
        # One sample of eight makes the range; the half without it sees a quarter of it.
        high = np.ones((1, 8))
        high[0, 5] = 4.0
        found = range_agreement(trace(0 * high, high).table())
        assert found.median == pytest.approx(0.25)
        assert found.least == (("t0", pytest.approx(0.25)),)

    def test_more_samples_agree_more(self):
        rng = np.random.default_rng(8)
        # Of light tails: those of power laws look the same at every size.
        size = np.abs(rng.standard_normal((SITES, 512)))
        few, many = (range_agreement(trace(-s, s).table()) for s in (size[:, :16], size))
        assert few.median < many.median

    def test_bounded_sites_do_not_count(self):
        low, high = steady(sites=2)
        bounded = np.full_like(high[:1], 6.0)
        with_bound = trace(np.vstack([low, 0 * bounded]), np.vstack([high, bounded]))
        assert range_agreement(with_bound.table()) == range_agreement(trace(low, high).table())

    @pytest.mark.parametrize("count", [1, 7])
    def test_a_handful_has_no_halves(self, count):
        assert range_agreement(trace(*steady(count)).table()) is None

    def test_nothing_observed(self):
        assert advise(SampleTrace(), [], []).agreement is None


class TestOutliers:
    def test_by_its_index(self):
        low, high = steady(20)
        low[:, 7] *= 8
        high[:, 7] *= 8
        places = [3 * i for i in range(20)]
        advice = advise(trace(low, high, places), [], [])
        (found,) = advice.outliers
        assert found.sample == 21
        assert found.ratio == pytest.approx(8, rel=0.3)
        assert found.widened == SITES
        assert found.stretch == pytest.approx(8, rel=0.5)
        finding = next(one for one in advice.findings if one.kind == "outlier_sample")
        assert finding.samples == (21,)
        assert finding.message.startswith("Sample 21 is unlike the others")
        assert f"{SITES} of {SITES} ranges" in finding.message

    def test_two_alike_do_not_hide_each_other(self):
        low, high = steady(20)
        for i in (2, 11):
            low[:, i], high[:, i] = low[:, 2] * 10, high[:, 2] * 10
        assert {one.sample for one in outlier_samples(trace(low, high).table())} == {2, 11}

    def test_a_few_sites_are_no_outlier(self):
        low, high = steady(20)
        high[:3, 7] *= 8
        assert outlier_samples(trace(low, high).table()) == ()

    def test_dark_samples_do_no_harm(self):
        low, high = steady(20)
        low[:, 7], high[:, 7] = 0, 0
        assert outlier_samples(trace(low, high).table()) == ()

    def test_bounded_sites_say_nothing(self):
        high = np.full((SITES, 20), 6.0)
        assert outlier_samples(trace(0 * high, high).table()) == ()

    def test_many_are_told_in_one_sentence(self):
        low, high = steady(64)
        low[:, :6] *= 30
        high[:, :6] *= 30
        advice = advise(trace(low, high), [], [])
        told = [one for one in advice.findings if one.kind == "outlier_sample"]
        assert len(told) == 6
        assert len({i for one in told for i in one.samples}) == 6

    def test_a_kind_of_its_own_is_no_outlier(self):
        # As speech is among pauses.
        low, high = steady(40)
        low[:, :12] *= 10
        high[:, :12] *= 10
        assert outlier_samples(trace(low, high).table()) == ()

    def test_a_handful_has_no_usual(self):
        low, high = steady(6)
        high[:, 1] *= 50
        assert outlier_samples(trace(low, high).table()) == ()


class TestCopies:
    def test_all_the_same(self):
        low, high = (np.repeat(part[:, :1], 10, axis=1) for part in steady(10))
        advice = advise(trace(low, high), [], [])
        assert advice.copies == 9
        assert "are all the same" in advice.findings[0].message

    def test_some(self):
        low, high = steady(10)
        low[:, 4:7], high[:, 4:7] = low[:, 3:4], high[:, 3:4]
        advice = advise(trace(low, high), [], [])
        assert copies(trace(low, high).table()) == 3
        assert kinds(advice) == ["copied_samples"]

    def test_one_of_many_is_not_told(self):
        low, high = steady(64)
        low[:, 4], high[:, 4] = low[:, 3], high[:, 3]
        advice = advise(trace(low, high), [], [])
        assert advice.copies == 1
        assert not advice.findings


class TestTrace:
    def test_a_tensor_that_was_not_seen_in_a_sample(self):
        collected = SampleTrace()
        collected.add("a", 5, 0, 1)
        collected.add("a", 6, 0, 2)
        collected.add("b", 6, -1, 3)
        collected.add("a", 9, 0, 4)
        table = collected.table()
        assert (table.tensors, table.samples) == (("a", "b"), (5, 6, 9))
        np.testing.assert_array_equal(table.high, [[1, 2, 4], [np.nan, 3, np.nan]])

    def test_memory_is_bounded(self):
        collected = SampleTrace()
        for sample in range(MOST_TRACED + 10):
            collected.add("a", sample, 0, 1)
        assert len(collected.table().samples) == MOST_TRACED

    def test_tensors_of_one_value(self):
        low, high = steady(10)
        low[2], high[2] = 0, 0
        advice = advise(trace(low, high), [], [])
        assert kinds(advice) == ["constant_tensors"]
        assert advice.findings[0].tensors == ("t2",)


CNN = """g (float[1,3,24,24] x) => (float y) {
    c = Conv <pads = [1,1,1,1]> (x, w, b)  r = Relu (c)  p = GlobalAveragePool (r)
    f = Flatten (p)  y = Gemm <transB = 1> (f, v, u) }"""


class TestInTheReport:
    @pytest.fixture
    def cnn(self, parse):
        rng = np.random.default_rng(9)
        return parse(
            CNN,
            w=rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32),
            b=rng.normal(0, 0.1, 8).astype(np.float32),
            v=rng.normal(0, 0.3, (5, 8)).astype(np.float32),
            u=rng.normal(0, 0.1, 5).astype(np.float32),
        )

    @pytest.mark.parametrize("scheme", ["min_max", "mse_minimizer"])
    def test_clean_data_trigger_nothing(self, scheme, cnn, quantize):
        samples = [{"x": x} for x in smooth(48)]
        report = quantize(cnn, samples, options=f"--range_scheme {scheme}").report
        assert report.advice.findings == ()
        assert report.advice.samples == report.calibration_samples
        assert report.advice.agreement.median > 0.75
        assert not any(line.startswith("advice:") for line in report.summary_lines())

    def test_an_outlier_is_told_by_its_place_in_the_data(self, cnn, quantize):
        samples = [{"x": x} for x in smooth(12)]
        samples[4]["x"] = samples[4]["x"] * 20
        report = quantize(cnn, samples).report
        assert [one.sample for one in report.advice.outliers] == [4]
        told = json.loads(json.dumps(report.to_dict()["advice"], allow_nan=False))
        assert told["outliers"][0]["sample"] == 4
        assert any(line.startswith("advice: Sample 4 is") for line in report.summary_lines())

    def test_the_order_of_the_samples_changes_nothing(self, cnn, quantize):
        samples = [{"x": x} for x in smooth(12)]
        samples[4]["x"] = samples[4]["x"] * 20
        order = np.random.default_rng(1).permutation(12).tolist()
        plain = quantize(cnn, samples).report.advice
        other = quantize(cnn, [samples[i] for i in order]).report.advice
        assert plain.agreement == other.agreement
        assert [one.sample for one in plain.outliers] == [4]
        assert [order[one.sample] for one in other.outliers] == [4]

    def test_random_data_are_told(self, cnn, quantize):
        rng = np.random.default_rng(3)
        samples = [{"x": rng.random((1, 3, 24, 24), np.float32)} for _ in range(10)]
        report = quantize(cnn, samples).report
        assert "random_input" in kinds(report.advice)


def planned(tensor, saturated, *, owner=None):
    return PlannedActivation(
        site=ActivationSite(tensor, owner or tensor, "output of Relu"),
        encoding=asymmetric_encoding(0, 1, bits=8),
        scheme="mse_minimizer",
        observed=(0.0, 2.0),
        saturated=saturated,
    )


class TestSaturation:
    def test_sites_that_clip_much_are_named_worst_first(self):
        sites = [planned("a", 0.02), planned("b", 0.001), planned("c", 0.05)]
        (finding,) = advise(SampleTrace(), [], sites).findings
        assert (finding.kind, finding.tensors) == ("saturated_sites", ("c", "a"))
        assert "2 sites clip more than 1% of values, at most 5.0% at 'c'" in finding.message

    def test_tensors_that_share_a_range_count_once(self):
        sites = [planned("a", 0.02), planned("b", 0.02, owner="a")]
        (finding,) = advise(SampleTrace(), [], sites).findings
        assert finding.tensors == ("a",)

    def test_a_little_is_how_ranges_are_chosen(self):
        assert not advise(SampleTrace(), [], [planned("a", 0.004)]).findings
