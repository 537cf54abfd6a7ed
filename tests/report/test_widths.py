"""The section of mixed precision: bounds, share and curve."""

from __future__ import annotations

import re

import pytest

from qdq.report import html_page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--accuracy_bound y:sqnr>=38", ("y:sqnr&gt;=38", "met", "activation Mbit")),
        ("--lite_mp percentage=50;override_qtype=int16", ("alone dB", "int16")),
        ("--pareto", ("SQNR over activation bits", "latency ms")),
    ],
)
def test_it_tells_what_was_found(options, words, quantized):
    page = html_page(quantized(options=f"--rounding nearest {options}", count=40).report)
    found = re.search(r'<section id="widths">.*?</section>', page, re.DOTALL)
    assert found is not None
    assert all(word in found[0] for word in words)
    assert 'href="#widths"' in page


def test_a_dot_for_every_point(quantized):
    report = quantized(options="--rounding nearest --pareto", count=40).report
    found = re.search(r'<section id="widths">.*?</section>', html_page(report), re.DOTALL)
    assert found is not None
    assert report.curve is not None
    assert found[0].count("<circle") == len(report.curve)


def test_nothing_where_it_was_not_asked_for(quantized):
    assert 'id="widths"' not in html_page(quantized().report)
