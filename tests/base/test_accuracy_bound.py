"""The text of accuracy bounds."""

from __future__ import annotations

import pytest

from qdq.base.accuracy_bound import AccuracyBound, bounds_of, parse_bounds
from qdq.base.errors import OptionError
from qdq.base.options import JobKind, parse_options


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("sqnr>=30", AccuracyBound("sqnr", 30.0)),
        ("psnr >= 41.5", AccuracyBound("psnr", 41.5)),
        ("sqnr>=-3", AccuracyBound("sqnr", -3.0)),
        ("top1_agreement>=0.99", AccuracyBound("top1_agreement", 0.99)),
        ("logits:cosine>=0.999", AccuracyBound("cosine", 0.999, "logits")),
        ("Identity:0:sqnr>=20", AccuracyBound("sqnr", 20.0, "Identity:0")),
    ],
)
def test_bounds_are_read_and_written(text, bound):
    assert parse_bounds([text]) == (bound,)
    assert parse_bounds([bound.text]) == (bound,)


@pytest.mark.parametrize(
    "text",
    ["", "sqnr", "sqnr>30", "sqnr>=", "sqnr>=x", "sqnr>=1e3", "sqnr>=nan", "mse>=1", ":sqnr>=1",
     "sqnr<=30", "sqnr>=30 dB"],
)  # fmt: skip
def test_other_text_is_refused(text):
    with pytest.raises(OptionError, match="accuracy_bound"):
        parse_bounds([text])


@pytest.mark.parametrize("text", ["cosine>=1.01", "top1_agreement>=99", "psnr>=101", "sqnr>=201"])
def test_what_no_model_reaches_is_refused(text):
    with pytest.raises(OptionError, match="No model reaches"):
        parse_bounds([text])


def test_one_bound_for_a_metric_of_an_output():
    assert len(parse_bounds(["sqnr>=30", "y:sqnr>=40", "cosine>=0.9", "sqnr>=30"])) == 3
    with pytest.raises(OptionError, match="twice"):
        parse_bounds(["y:sqnr>=30", "y:sqnr>=31"])


def test_options_may_repeat_it():
    text = "--accuracy_bound sqnr>=30,cosine>=0.99 --accuracy_bound 'y:sqnr>=40'"
    options = parse_options(JobKind.QUANTIZE, text)
    assert [bound.text for bound in bounds_of(options)] == [
        "sqnr>=30",
        "cosine>=0.99",
        "y:sqnr>=40",
    ]
    assert parse_options(JobKind.QUANTIZE, options.to_text()) == options
    assert bounds_of(parse_options(JobKind.QUANTIZE, "")) == ()


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("--lite_mp", {}),
        ("--lite_mp percentage=10;override_qtype=int16", None),
        ("--lite_mp percentage=0.33", {"percentage": "0.33"}),
        ("--lite_mp override_qtype=FP16", {"override_qtype": "fp16"}),
    ],
)
def test_share(text, pairs):
    options = parse_options(JobKind.QUANTIZE, text)
    expected = {"percentage": "10", "override_qtype": "int16"} if pairs is None else pairs
    assert options.get_pairs("lite_mp") == expected
    assert "lite_mp" in options.given
    assert parse_options(JobKind.QUANTIZE, options.to_text()) == options


@pytest.mark.parametrize(
    "value", ["percentage=-1", "percentage=100.5", "percentage=nan", "override_qtype=int8", "p=1"]
)
def test_share_out_of_its_range_is_refused(value):
    with pytest.raises(OptionError, match="lite_mp"):
        parse_options(JobKind.QUANTIZE, f"--lite_mp {value}")


def test_share_and_bound_contradict():
    with pytest.raises(OptionError, match="contradict"):
        parse_options(JobKind.QUANTIZE, "--lite_mp --accuracy_bound sqnr>=3")


def test_margin_asks_for_less_noise():
    assert AccuracyBound("sqnr", 30.0).raised(2.0).least == 32.0
    assert AccuracyBound("cosine", 0.99, "y").raised(10.0) == AccuracyBound("cosine", 0.999, "y")
    assert AccuracyBound("top1_agreement", 1.0).raised(3.0).least == 1.0
