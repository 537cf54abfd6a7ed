"""The page is one well-formed file, shows everything, and does nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import onnx
import onnx.parser
import pytest

from qdq.quantizer.decisions import Decision
from qdq.report import html_page
from qdq.report.sites import site_anchors

NAMESPACE = "{http://www.w3.org/1999/xhtml}"
# Elements and attributes that fetch, run or send something.
ACTIVE = {"script", "img", "image", "link", "iframe", "object", "embed", "form", "use", "base"}
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'</style>"


def tree(page):
    root = ElementTree.fromstring(page)
    return root, {one.get("id"): one for one in root.iter() if one.get("id")}


def text_of(node):
    return " ".join(" ".join(node.itertext()).split())


@pytest.fixture(scope="module")
def result(quantized):
    return quantized()


@pytest.fixture(scope="module")
def page(result):
    return html_page(result.report)


class Balance(HTMLParser):
    """Reads as browsers do, and keeps account of what is open."""

    VOID = ("meta", "line", "rect", "path", "circle", "polyline")

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        assert tag in self.VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class TestOneFile:
    def test_two_parsers_agree(self, page):
        balance = Balance()
        balance.feed(page)
        assert balance.open == []
        root, _ = tree(page)
        assert root.tag == f"{NAMESPACE}html"
        names = {one.tag.removeprefix(NAMESPACE).lower() for one in root.iter()}
        assert balance.tags == names

    def test_it_fetches_and_runs_nothing(self, page):
        root, _ = tree(page)
        for one in root.iter():
            assert one.tag.removeprefix(NAMESPACE).lower() not in ACTIVE
            for name, value in one.attrib.items():
                assert not name.startswith("on")
                assert name not in ("src", "style", "srcset", "action", "data")
                assert "javascript:" not in value
                if name == "href":
                    assert value.startswith("#")
        style = next(root.iter(f"{NAMESPACE}style")).text
        assert "url(" not in style
        assert "@import" not in style
        assert not re.search(r"https?://", page.replace('xmlns="http://www.w3.org/1999/xhtml"', ""))

    def test_its_policy_allows_its_own_style_alone(self, page):
        style = re.search(r"<style>(.*?)</style>", page, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        root, _ = tree(page)
        (policy,) = (
            one.get("content")
            for one in root.iter(f"{NAMESPACE}meta")
            if one.get("http-equiv") == "Content-Security-Policy"
        )
        assert policy == (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        )

    def test_links_lead_somewhere(self, page):
        root, ids = tree(page)
        targets = {one.get("href").removeprefix("#") for one in root.iter(f"{NAMESPACE}a")}
        assert targets
        assert targets <= set(ids)

    def test_the_same_twice(self, result, page):
        assert html_page(result.report) == page


class TestContents:
    def test_outputs_with_their_figures(self, result, page):
        shown = text_of(tree(page)[1]["outputs"])
        for name, metrics in result.report.outputs.items():
            assert f"{name} {metrics.sqnr_db:.2f} {metrics.psnr_db:.2f}" in shown

    def test_every_site_has_its_histogram_and_range(self, result, page):
        _, ids = tree(page)
        anchors = site_anchors(result.report)
        for planned in result.plan.activations:
            figure = ids[anchors[planned.site.tensor]]
            shown = text_of(figure)
            assert planned.site.rule in shown or planned.site.tensor != planned.site.owner
            low, high = planned.encoding.range
            assert f"{low:.6g} to {high:.6g}" in shown
            drawn = [one.get("class") for one in figure.iter() if one.get("class")]
            assert "range" in drawn
            # The range of a Sigmoid is fixed, so its values are not counted.
            assert ("values" in drawn) == (planned.scheme != "fixed")
        names = text_of(ids["sites"].find(f".//{NAMESPACE}ol"))
        assert names.split() == [planned.site.tensor for planned in result.plan.activations]

    def test_ranges_of_extremes_have_histograms_too(self, quantized):
        report = quantized(activations="int16", options="--range_scheme min_max").report
        assert report.settings.range_scheme == "min_max"
        assert set(report.figures.sites) == {
            one.site.owner for one in report.plan.activations if one.scheme != "fixed"
        }
        _, ids = tree(html_page(report))
        assert ids["s0"].find(f".//{NAMESPACE}path[@class='values']") is not None

    def test_every_weight_before_and_after(self, result, page):
        _, ids = tree(page)
        for i, planned in enumerate(result.plan.weights):
            drawn = [one.get("class") for one in ids[f"w{i}"].iter()]
            assert {"values", "outline"} <= set(drawn)
            assert planned.site.tensor in text_of(ids[f"w{i}"])

    def test_layers_in_depth_order(self, result, page):
        _, ids = tree(page)
        dots = list(ids["layers"].iter(f"{NAMESPACE}circle"))
        layers = result.report.layers.tensors
        assert [text_of(dot).split()[0] for dot in dots] == [one.name for one in layers]
        places = [float(dot.get("cx")) for dot in dots]
        assert places == sorted(places)
        for dot, layer in zip(dots, layers, strict=True):
            assert f"{layer.metrics.sqnr_db:.1f} dB" in text_of(dot)

    def test_cost_by_stage(self, result, page):
        shown = text_of(tree(page)[1]["cost"])
        for cost in result.report.stages:
            assert f"{cost.stage} {cost.seconds:.2f}" in shown

    def test_advice_and_notices(self, result, page):
        shown = text_of(tree(page)[1]["summary"])
        report = result.report
        assert report.notices
        assert report.advice.findings
        for text in (*report.notices, *(one.message for one in report.advice.findings)):
            assert text in shown

    def test_rounded_weights_and_corrected_biases_are_told(self, quantized):
        report = quantized(options="--rounding second_order", count=40).report
        _, ids = tree(html_page(report))
        corrected = {one.weight for one in report.plan.biases}
        assert any(one.values is not None for one in report.plan.weights)
        for i, planned in enumerate(report.plan.weights):
            shown = text_of(ids[f"w{i}"])
            nearest = planned.values is None
            assert ("integers the nearest" in shown, "integers chosen together" in shown) == (
                nearest,
                not nearest,
            )
            assert ("bias corrected" in shown) == (planned.site.tensor in corrected)

    def test_decisions_with_their_effect(self, result):
        tried = (
            Decision("layer", "make_c", "second order", True, 31.254, 36.5, "best on the gate"),
            Decision("layer", "make_c", HOSTILE, False, 31.254, 30.0, "worse"),
            Decision("whole_model", "whole model", "bias", False, None, None, "no gate samples"),
        )
        page = html_page(replace(result.report, decisions=tried, gate_samples=7))
        shown = text_of(tree(page)[1]["decisions"])
        assert "on the 7 gate samples" in shown
        assert "Rounding of layers: 1 taken, 1 rejected" in shown
        assert "make_c second order taken 31.25 36.50 +5.25 best on the gate" in shown
        assert f"make_c {HOSTILE} rejected 31.25 30.00 -1.25 worse" in shown
        assert "whole model bias rejected - - - no gate samples" in shown

    def test_no_decisions(self, result):
        page = html_page(replace(result.report, decisions=()))
        assert "No alternatives were weighed" in text_of(tree(page)[1]["decisions"])

    def test_without_figures_it_says_so(self, quantized):
        _, ids = tree(html_page(quantized(figures=False).report))
        assert "No histograms were kept" in text_of(ids["s0"])
        assert "No figures of weights were kept" in text_of(ids["weights"])


class TestHostileNames:
    @pytest.mark.parametrize(
        "name",
        [HOSTILE, "a\x00b\x1b[31m\x7f", "\u202egnp.exe", "x" * 100_000, "]]>", " "],
    )
    def test_names_are_text(self, name, quantized):
        names = {key: f"{name}{key}" for key in "crpfyzwv"} | {"node": name}
        report = quantized(names=names).report
        page = html_page(report)
        root, ids = tree(page)
        balance = Balance()
        balance.feed(page)
        assert balance.open == []
        assert not {"script", "img"} & balance.tags
        assert not {one.tag.removeprefix(NAMESPACE) for one in root.iter()} & ACTIVE
        assert page.encode()
        assert all(c.isprintable() or c == "\n" for c in page)
        assert len(page) < 300_000
        anchors = site_anchors(report)
        assert {anchors[one.site.tensor] for one in report.plan.activations} <= set(ids)

    def test_the_whole_name_is_shown(self, quantized):
        page = html_page(quantized(names={"r": HOSTILE}).report)
        assert HOSTILE in text_of(tree(page)[1]["sites"])


def test_size(result, page):
    # A drawing has at most 96 bars: about 4 KiB for each site and weight.
    figures = len(result.plan.activations) + len(result.plan.weights)
    assert len(page.encode()) < 20_000 + 5_000 * figures


def test_levers_and_converts_are_shown(tmp_path):
    """Names are text, whatever they hold; each width of an owner has a figure of its own."""
    import qdq

    text = """g (float[1,4] x) => (float y) {
        a = Abs (x) t = Transpose (a) b = Neg (t) y = Add (b, t) }"""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}')
    for node in model.graph.node:
        node.name = f"<{node.output[0]}>"
    samples = {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)}
    page = tmp_path / "r.html"
    qdq.quantize(model, samples, options="--override <[tb]>=int16", report=page)
    html = page.read_text(encoding="utf-8")
    section = html.split('id="levers"')[1].split("<section")[0]
    assert "--override" in section and "&lt;[tb]&gt;" in section
    assert "2 with 8 bits, 2 with 16 bits" in section
    assert "Converts, where a reader has another width: 3" in section
    sites = html.split('id="sites"')[1]
    assert sites.count('class="figure"') == 5, "of a two, as its view has another width"
