"""The section of what each site does to the outputs."""

from __future__ import annotations

from xml.etree import ElementTree

from qdq.report import html_page


def test_bars_and_rows_of_every_site(quantized):
    report = quantized(options="--sensitivity").report
    assert report.sensitivity is not None
    page = ElementTree.fromstring(html_page(report).split("\n", 1)[1])
    space = {"h": page.tag[1 : page.tag.index("}")]} if page.tag.startswith("{") else {}
    prefix = "h:" if space else ""
    section = page.find(f".//{prefix}section[@id='sensitivity']", space)
    assert section is not None
    rows = section.findall(f".//{prefix}tbody/{prefix}tr", space)
    bars = section.findall(f".//{prefix}rect", space)
    assert len(rows) == len(bars) == len(report.sensitivity.sites)
    told = "".join(section.itertext())
    assert all(site.site in told for site in report.sensitivity.sites)


def test_nothing_where_it_was_not_asked_for(quantized):
    page = html_page(quantized().report)
    assert 'id="sensitivity"' not in page
    assert "#sensitivity" not in page
