"""Elements, axes and ticks."""

from __future__ import annotations

import math

import pytest

from qdq.report.markup import Markup, element, join, plain
from qdq.report.svg import Axis, bars_path, ticks


def test_children_and_attributes_are_escaped():
    made = element("a", "<b>", element("i", "&"), None, 1.5, href='"x"', class_="c", id=None)
    assert made == ('<a href="&quot;x&quot;" class="c">&lt;b&gt;<i>&amp;</i>1.5</a>')


def test_only_void_elements_have_no_end():
    assert element("rect", x=1) == '<rect x="1" />'
    assert element("td") == "<td></td>"


def test_markup_stays_and_text_does_not():
    assert join((Markup("<b>"), "<b>", ["<", [Markup(">")]])) == "<b>&lt;b&gt;&lt;>"


def test_names_are_cut_and_printable():
    assert plain("a\x00\u202eb\ud800") == "a\\x00\\u202eb\\ud800"
    cut = plain("a" * 500 + "b" * 500)
    assert len(cut) < 200
    assert cut.startswith("aaa")
    assert cut.endswith("bbb")


@pytest.mark.parametrize("ends", [(0, 1), (-3.7, 12.2), (1e-30, 3e-30), (-1e30, 1e30), (5, 5)])
def test_ticks_are_few_and_inside(ends):
    low, high = ends
    found = ticks(low, high)
    assert 1 <= len(found) <= 8
    slack = 1e-9 * max(abs(low), abs(high))
    assert all(low - slack <= value <= high + slack for value in found)


@pytest.mark.parametrize("ends", [(math.nan, 1), (0, math.inf), (0, 5e-324), (1, 1 + 2**-52)])
def test_ticks_of_odd_ranges_end(ends):
    assert len(ticks(*ends)) <= 8


def test_axes_stay_inside():
    axis = Axis(0, 10, 100, 200)
    assert [axis(v) for v in (-5, 0, 5, 10, 99)] == [100, 100, 150, 200, 200]
    assert Axis(3, 3, 0, 10)(3) == 5


def test_bars():
    assert bars_path([0, 1, 2], [5, 7], 10) == "M0 10V5H1V7H2V10Z"
