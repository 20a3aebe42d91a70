"""Networks over time, topologies, heat maps, spectra: what is drawn is there, apart, and readable."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
import torch
from drawn import SVG, Box, parse, texts

import recurra as rc
from recurra import cells, wrappers
from recurra.core import Batch
from recurra.core.errors import ArgumentError
from recurra.drawing import (
    TOPOLOGIES,
    Diagram,
    Picture,
    draw_attention,
    draw_graph,
    draw_tree,
    heat_map,
    spectrum,
)
from recurra.drawing.colours import diverging, readable_on, sequential
from recurra.drawing.titles import title_of
from recurra.networks import Embedding, Readout, Synchronous


def network() -> Synchronous:
    torch.manual_seed(0)
    return Synchronous(Embedding(9, 3), rc.Recurrent("gru", 3, 5, num_layers=2, batch_first=True), Readout(5, 9))


def vectors(root: ET.Element) -> list[Box]:
    found: list[Box] = []
    for e in root.iter(f"{SVG}rect"):
        if "vector-" in e.attrib.get("class", ""):
            x, y, w, h = (float(e.attrib[k]) for k in ("x", "y", "width", "height"))
            found.append(Box(x, y, x + w, y + h, frozenset()))
    return found


def written(root: ET.Element) -> list[str]:
    return ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]


PICTURES = {
    **{name: lambda name=name: rc.draw(name) for name in TOPOLOGIES},
    "one layer": lambda: rc.draw(rc.Recurrent("elman", 3, 5)),
    "folded": lambda: rc.draw(rc.Recurrent("elman", 3, 5), folded=True),
    "two ways": lambda: rc.draw(rc.LSTM(3, 5, num_layers=2, bidirectional=True), notation="w_hx"),
    "two ways folded": lambda: rc.draw(rc.LSTM(3, 5, num_layers=2, bidirectional=True), folded=True),
    "network": lambda: rc.draw(network(), steps=6),
    "values": lambda: rc.draw(network(), batch=torch.tensor([[1, 2, 3]])),
    "units": lambda: rc.draw(network(), batch=torch.tensor([[1, 2, 3]]), units=True),
}


@pytest.mark.parametrize("name", PICTURES)
def test_vectors_are_apart_and_texts_too(name: str) -> None:
    picture = PICTURES[name]()
    assert picture.svg == PICTURES[name]().svg
    root = parse(picture)
    found, words = vectors(root), texts(root)
    assert len(found) >= 2
    assert not [(a, b) for a, b in combinations(found, 2) if a.overlaps(b)]
    for text, space in words:
        assert space.left >= 0, text
        assert space.right <= picture.width, text
        assert space.bottom <= picture.height, text
        for vector in found:
            x, y = (space.left + space.right) / 2, (space.top + space.bottom) / 2
            if vector.left < x < vector.right and vector.top < y < vector.bottom:
                assert vector.left <= space.left, text
                assert space.right <= vector.right, text
    assert not [(a, b) for (a, p), (b, q) in combinations(words, 2) if p.overlaps(q, 2.0)]


def test_unrolled_there_is_a_vector_for_every_step_of_every_layer() -> None:
    root = parse(rc.draw(rc.Recurrent("elman", 3, 5, num_layers=2), steps=4))
    assert {"h0", "h1", "h2", "h3", "h4", "h′0", "h′4", "x1", "x4", "W", "U", "W′", "U′"} <= set(written(root))
    assert len(vectors(root)) == 4 + 5 + 5
    # The same weights, the same colour: two from below, two from the side.
    colours = re.findall(r'<path class="wire (family-\d)"', rc.draw(rc.Recurrent("elman", 3, 5, num_layers=2)).svg)
    assert sorted(colours.count(c) for c in set(colours)) == [4, 4, 4, 4]
    one_way = parse(rc.draw(rc.GRU(3, 5), steps=2))
    both = parse(rc.draw(rc.GRU(3, 5, bidirectional=True), steps=2))
    assert len(vectors(one_way)) == 2 + 3
    assert len(vectors(both)) == 2 + 3 + 3 + 2


def test_a_wrapper_is_named() -> None:
    wrapped = rc.Recurrent(lambda i, h: wrappers.get("zoneout").of(cells.get("lstm"), i, h), 3, 5)
    assert "Zoneout of LSTM" in written(parse(rc.draw(wrapped)))
    assert title_of(cells.get("gru_reset_before")(2, 2)) == "GRU Reset Before"
    assert title_of(cells.get("clockwork")(2, 2)) == "Clockwork"


def test_values_are_those_that_the_network_computes() -> None:
    net = network().train()
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    picture = rc.draw(net, batch=Batch(tokens), steps=3, units=True)
    assert net.training
    with torch.no_grad():
        x = net.embed(tokens)
        y, _, states = net.recurrent(x, return_all_states=True)
        everything = torch.cat([x[0].flatten(), states[:, :, 0].flatten(), net.readout(y)[0].flatten()])
    largest = float(everything.abs().max())
    assert f"{largest:.2g}: each unit's value" in " ".join(written(parse(picture)))
    fills = re.findall(r'class="unit"[^>]*style="fill:(#[0-9a-f]{6})"', picture.svg)
    expected = [diverging(float(v) / largest) for v in x[0].flatten()]
    assert fills[: len(expected)] == expected
    with pytest.raises(ArgumentError, match="expected a tensor or a Batch of inputs to colour the vectors, got list"):
        rc.draw(net, batch=[1, 2])


def test_a_network_draws_itself() -> None:
    class Own(torch.nn.Module):
        def draw_on(self, diagram: Diagram, steps: int) -> None:
            a, b = diagram.vector(0, 0, "x_1", "input"), diagram.vector(1, 0, "输出", "output")
            diagram.arrow(a, b, "W", bend=0.2)
            diagram.arrow(b, b)
            diagram.group([a, b], f"{steps} <steps>")

    root = parse(rc.draw(Own(), steps=7))
    assert {"x1", "输出", "W", "7 <steps>"} <= set(written(root))
    with pytest.raises(ArgumentError, match="expected a network with one stack of recurrent layers"):
        rc.draw(torch.nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="at least one step"):
        rc.draw(rc.GRU(2, 2), steps=0)


def test_attention_trees_and_graphs_show_what_they_are_given() -> None:
    picture = draw_attention([[0.25, 0.75]], ["我", "<b>"], ["me"])
    widths = sorted(float(w) for w in re.findall(r"stroke-width:([\d.]+);opacity", picture.svg))
    assert widths[1] > 2 * widths[0]
    assert {"我", "<b>", "me"} <= set(written(parse(picture)))
    with pytest.raises(ArgumentError, match=r"expected 1 rows of 3 weights, got \[2\]"):
        draw_attention([[0.5, 0.5]], ["a", "b", "c"], ["d"])
    with pytest.raises(ArgumentError, match="expected step to be from 0 to 0, got 1"):
        draw_attention([[1.0]], ["a"], ["d"], 1)
    tree = parse(draw_tree(("a", ("red", "bike"))))
    assert {"a", "red", "bike", "h1", "h2"} <= set(written(tree))
    assert len(vectors(tree)) == 5
    assert len(vectors(parse(draw_graph([("a", "b"), ("b", "c"), ("c", "a")])))) == 3
    with pytest.raises(ArgumentError, match="at least one edge"):
        draw_graph([])


def test_heat_maps_have_a_cell_for_every_number_and_readable_names() -> None:
    small = heat_map([[0.9, 0.1], [0.2, float("nan")]], ["a", "<b>"], ["我", "爱"], title="t & u")
    cells_drawn = [e for e in parse(small).iter(f"{SVG}rect") if e.attrib.get("class") == "cell"]
    assert len(cells_drawn) == 3 + 24  # and the scale's
    assert {"a", "<b>", "我", "爱", "t & u", ".90"} <= set(written(parse(small)))
    names = [f"token {k}" for k in range(200)]
    long = heat_map(torch.randn(200, 200).tolist(), names, names)
    places = [space for text, space in texts(parse(long)) if text.startswith("token")]
    assert 10 < len(places) < 100
    assert not [(a, b) for a, b in combinations(places, 2) if a.overlaps(b, 1.0)]
    assert long.width < 1000
    with pytest.raises(ArgumentError, match="expected 2 rows of 2 numbers"):
        heat_map([[1.0, 2.0]], ["a", "b"], ["c", "d"])
    with pytest.raises(ArgumentError, match="at least one of each"):
        heat_map([], [], [])


def test_spectra_are_true_to_the_unit_circle() -> None:
    root = parse(spectrum([0.5 + 0.5j, 0.5 - 0.5j, -2.0], title="W"))
    (circle,) = [e for e in root.iter(f"{SVG}circle") if "unit-circle" in e.attrib["class"]]
    points = [e for e in root.iter(f"{SVG}circle") if "point" in e.attrib["class"]]
    cx, radius = float(circle.attrib["cx"]), float(circle.attrib["r"])
    (outside,) = [e for e in points if "outside" in e.attrib["class"]]
    assert float(outside.attrib["cx"]) == pytest.approx(cx - 2 * radius, abs=0.2)
    assert "spectral radius 2; 1 of 3 outside the unit circle" in written(root)
    for wrong in ([], [float("nan")], [float("inf")]):
        with pytest.raises(ArgumentError, match="expected finite eigenvalues"):
            spectrum(wrong)


def _contrast(one: str, other: str) -> float:
    """The contrast of the Web Content Accessibility Guidelines 2.2, 1.4.3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _fills(sheet: str) -> dict[str, str]:
    return {s.strip(): c for s, c in re.findall(r"([^{}]+)\{[^{}]*?fill: (#[0-9a-f]{6})[^{}]*\}", sheet)}


@pytest.mark.parametrize("dark", [False, True])
def test_texts_can_be_read_on_light_and_dark_pages(dark: bool) -> None:
    pictures: list[Picture] = [rc.draw(cells.get(name)(3, 4)) for name in ("lstm", "jordan", "bare_unit", "leaky")]
    pictures += [rc.draw(rc.LSTM(2, 2, bidirectional=True)), rc.draw("encoder-decoder"), rc.draw("n-to-n")]
    seen: set[str] = set()
    for picture in pictures:
        light, _, night = picture.svg.partition("@media (prefers-color-scheme: dark) {")
        fills = _fills(night.partition("</style>")[0] if dark else light)
        for style, colour in fills.items():
            if style in ("text", ".soft"):
                assert _contrast(colour, fills[".paper"]) >= 4.5, style
            elif ".head" not in style:
                seen.add(style)
                assert _contrast(fills["text"], colour) >= 4.5, style
        for colour in re.findall(r"\.wire\.family-\d \{ stroke: (#\w{6})", night if dark else light):
            assert _contrast(colour, fills[".paper"]) >= 3.0
    assert {".loop", ".before", ".after", ".once", ".port", ".vector-state", ".vector-reverse"} <= seen


def test_numbers_can_be_read_on_every_colour() -> None:
    for k in range(101):
        for colour in (sequential(k / 100), diverging(k / 50 - 1)):
            assert _contrast(colour, readable_on(colour)) >= 4.5
