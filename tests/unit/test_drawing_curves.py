"""Line charts: well-formed, true to the numbers, and readable."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.core.errors import ArgumentError
from recurra.drawing import Band, curves_svg
from recurra.drawing.axis import format_ticks, nice_ticks, text_width

SVG = "{http://www.w3.org/2000/svg}"
NAN = float("nan")


def parse(text: str) -> ET.Element:
    return ET.fromstring(text)


def points(element: ET.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split()]  # type: ignore[misc]


def test_curves_lie_where_the_axes_say() -> None:
    root = parse(curves_svg({"a": [(0, 1.0), (50, 2.0), (100, 4.0)]}, title="t", x_label="x", y_label="y"))
    ticks = {e.text: e for e in root.iter(f"{SVG}text") if e.attrib.get("class") == "tick"}
    (line,) = root.iter(f"{SVG}polyline")
    (x0, y0), (x1, y1), (x2, y2) = points(line)
    assert (x1 - x0) == pytest.approx(x2 - x1, abs=0.2)
    assert (y0 - y1) * 2 == pytest.approx(y1 - y2, abs=0.3)
    assert x0 == pytest.approx(float(ticks["0"].attrib["x"]), abs=0.2)
    assert x2 == pytest.approx(float(ticks["100"].attrib["x"]), abs=0.2)
    assert y1 + 4.5 == pytest.approx(float(ticks["2.0"].attrib["y"]), abs=0.2)


def test_equal_arguments_give_equal_bytes_and_texts_are_escaped() -> None:
    series = {'<b> & "q" \x00\ud800': [(1.0, 2.0), (2.0, 1.0)], "门控循环单元": [(1.0, 1.0), (2.0, 3.0)]}
    text = curves_svg(series, title="a < b & 唐诗", x_label="]]>", y_label="纳特")
    assert text == curves_svg(series, title="a < b & 唐诗", x_label="]]>", y_label="纳特")
    written = [e.text for e in parse(text).iter(f"{SVG}text")]
    assert {'<b> & "q" ', "门控循环单元", "a < b & 唐诗", "]]>", "纳特"} <= set(written)
    text.encode()


def test_a_band_is_drawn_under_its_curve() -> None:
    band = Band([(0, 2.0), (1, 1.0)], [(0, 1.5), (1, 0.5)], [(0, 2.5), (1, 1.5)])
    tags = [e.tag.removeprefix(SVG) for e in parse(curves_svg({"a": band})).iter()]
    assert tags.index("polygon") < tags.index("polyline")
    (polygon,) = parse(curves_svg({"a": band})).iter(f"{SVG}polygon")
    assert len(points(polygon)) == 4


def test_gaps_single_points_and_flat_curves() -> None:
    root = parse(curves_svg({"a": [(0, 1.0), (1, 2.0), (2, NAN), (3, 1.0), (4, float("inf")), (5, 3.0), (6, 2.0)]}))
    assert [len(points(e)) for e in root.iter(f"{SVG}polyline")] == [2, 2]
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert len(list(parse(curves_svg({"a": [(3, 2.0)], "nothing": [(1, NAN)]})).iter(f"{SVG}circle"))) == 1
    assert list(parse(curves_svg({"a": [(0, 2.0), (9, 2.0)]})).iter(f"{SVG}polyline"))
    for nothing in ({}, {"a": []}, {"a": [(1.0, NAN)]}):
        with pytest.raises(ArgumentError, match="at least one curve"):
            curves_svg(nothing)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=16))
def test_labels_never_touch_and_stay_on_the_page(ends: list[float]) -> None:
    root = parse(curves_svg({f"run {i}": [(0, 0.0), (1, end)] for i, end in enumerate(ends)}))
    labels = [e for e in root.iter(f"{SVG}text") if (e.text or "").startswith("run ")]
    assert len(labels) == len(ends)
    heights = sorted(float(e.attrib["y"]) for e in labels)
    assert all(b - a > 13 for a, b in pairwise(heights))
    assert heights[0] > 0
    assert heights[-1] < 440
    for label in labels:
        assert float(label.attrib["x"]) + text_width(label.text or "", 13) <= 760


def test_long_names_are_cut_and_stay_on_the_page() -> None:
    root = parse(curves_svg({"w" * 500: [(0, 0.0), (1, 1.0)]}))
    (label,) = [e for e in root.iter(f"{SVG}text") if (e.text or "").startswith("www")]
    assert (label.text or "").endswith("…")
    assert float(label.attrib["x"]) + text_width(label.text or "", 13) <= 760


def test_it_is_readable_on_dark_pages_too() -> None:
    text = curves_svg({"a": [(0, 0.0), (1, 1.0)]})
    assert re.search(r"@media \(prefers-color-scheme: dark\) \{\s*text \{ fill: #e6edf3 \}", text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 16 or span < 1e-9 * abs(low)
    slack = 1e-6 * max(abs(low), span)
    assert all(low - slack <= t <= low + span + slack for t in ticks)


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([1.5, 2.0, 2.5], ["1.5", "2.0", "2.5"]),
        ([0.0, 20000.0, 40000.0], ["0", "20k", "40k"]),
        ([0.0, 500.0, 1000.0], ["0", "500", "1000"]),
        ([0.0, 5e6, 1e7], ["0", "5M", "10M"]),
        ([-1.0, 0.0], ["−1", "0"]),
        ([0.0, 1e-5], ["0", "1e−05"]),
        ([0.3], ["0.3"]),
    ],
)
def test_ticks_are_written_shortly_and_alike(ticks: list[float], texts: list[str]) -> None:
    assert format_ticks(ticks) == texts
