"""The topologies of recurrent networks, as the tutorials draw them: one figure each, for any cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

from recurra.core.errors import ArgumentError
from recurra.core.registry import lookup
from recurra.drawing.diagram import Diagram, Vector
from recurra.drawing.memoryless import MEMORYLESS
from recurra.drawing.notation import Notation, notation_called
from recurra.drawing.picture import Picture
from recurra.drawing.rows import chain, letters, times, under, up
from recurra.drawing.sharing import draw_sharing
from recurra.drawing.stacked_topologies import STACKED

__all__ = ["TOPOLOGIES", "Tree", "draw_attention", "draw_graph", "draw_topology", "draw_tree"]

Tree: TypeAlias = "str | tuple[Tree, ...]"
"""A tree of words: `("red", "bike")`, `("a", ("red", "bike"))`."""


def draw_topology(name: str, *, steps: int = 4, notation: str = "uvw") -> Picture:
    """Return the figure of a topology, one of `TOPOLOGIES`, over so many steps.

    Raises UnknownNameError, with the known names.
    """
    draw = lookup(TOPOLOGIES, name, "topology")
    if steps < 1:
        raise ArgumentError(f"expected at least one step to draw, got {steps}")
    return draw(steps, notation_called(notation))


def _one_to_one(steps: int, form: Notation) -> Picture:
    d = Diagram("1 to 1: no time, y = f(W x + b)")
    x, h, y = (
        d.vector(0, row, name, kind) for row, name, kind in ((0, "x", "input"), (1, "h", "state"), (2, "y", "output"))
    )
    d.arrow(x, h, letters(form)[0])
    d.arrow(h, y, letters(form)[2])
    return d.picture()


def _n_to_n(steps: int, form: Notation) -> Picture:
    d = Diagram("N to N: an output for every input")
    u, w, v = letters(form)
    h = chain(d, times("h", steps + 1, 0), 1, w)
    under(d, h[1:], times("x", steps), u)
    up(d, h[1:], times("y", steps), "output", v)
    return d.picture(f"{u}, {w} and {v} (and the biases) are the same at every step.")


def _n_to_one(steps: int, form: Notation) -> Picture:
    d = Diagram("N to 1: one output, of the last state")
    u, w, v = letters(form)
    h = chain(d, times("h", steps + 1, 0), 1, w)
    under(d, h[1:], times("x", steps), u)
    up(d, h[-1:], ["y"], "output", v)
    return d.picture()


def _one_to_n_first(steps: int, form: Notation) -> Picture:
    d = Diagram("1 to N: the input at the first step only")
    u, w, v = letters(form)
    h = chain(d, times("h", steps + 1, 0), 1, w)
    under(d, h[1:2], ["x"], u)
    up(d, h[1:], times("y", steps), "output", v)
    return d.picture()


def _one_to_n_every(steps: int, form: Notation) -> Picture:
    d = Diagram("1 to N: the input at every step")
    u, w, v = letters(form)
    h = chain(d, times("h", steps + 1, 0), 1, w)
    under(d, h[1:], ["x"] * steps, u)
    up(d, h[1:], times("y", steps), "output", v)
    return d.picture("The x of all steps is the same vector.")


def _one_to_n_short(steps: int, form: Notation) -> Picture:
    d = Diagram("1 to N: the input at every step, drawn once")
    u, w, v = letters(form)
    h = chain(d, times("h", steps + 1, 0), 1, w)
    x = d.vector((steps + 1) / 2, -0.1, "x", "input")
    for state in h[1:]:
        d.arrow(x, state, u)
    up(d, h[1:], times("y", steps), "output", v)
    return d.picture("The repeated x is left out: one vector goes to every step.")


def _encoder(d: Diagram, steps: int, form: Notation) -> list[Vector]:
    u, w, _ = letters(form)
    h = chain(d, times("h", steps + 1, 0), 1, w)
    under(d, h[1:], times("x", steps), u)
    return h


def _code(d: Diagram, h: Sequence[Vector], way: str, column: float) -> Vector:
    """Draw the encoder's code c: the last state, something made of it, or something made of all."""
    c = d.vector(column, 1, "c", "context")
    if way == "all":
        for k, state in enumerate(h[1:]):
            d.arrow(state, c, "q", bend=0.0 if k == len(h) - 2 else 0.12)
    else:
        d.arrow(h[-1], c, "q" if way == "transform" else "", dashed=way == "last")
    return c


def _encoder_decoder(way: str, every: bool, title: str, note: str) -> Callable[[int, Notation], Picture]:
    def draw(steps: int, form: Notation) -> Picture:
        d = Diagram(title)
        _, _, v = letters(form)
        h = _encoder(d, steps, form)
        c = _code(d, h, way, steps + 1)
        start, many = steps + 2, max(1, steps - 1)
        states = chain(d, times("h'", many + 1, 0), 1, "W'", start)
        if every:
            for state in reversed(states[1:]):  # The outermost first: it is the one that is labelled.
                d.arrow(c, state, "C", bend=-0.16)
        else:
            d.arrow(c, states[0], dashed=True)
        up(d, states[1:], times("y", many), "output", v)
        d.group(h, "encoder")
        d.group(states, "decoder")
        return d.picture(note)

    return draw


def _fed_back(steps: int, form: Notation) -> Picture:
    d = Diagram("N to M: the decoder takes its own last output")
    _, _, v = letters(form)
    h = _encoder(d, steps, form)
    many = max(2, steps - 1)
    states = chain(d, times("h'", many + 1, 0), 1, "W'", steps + 1)
    d.arrow(h[-1], states[0], dashed=True)
    outputs = up(d, states[1:], times("y", many), "output", v)
    first = d.vector(states[1].column, 0, "begin", "input")
    d.arrow(first, states[1], "U'")
    for y, state in zip(outputs, states[2:], strict=False):
        d.arrow(y, state, "U'")
    return d.picture("Until it puts out the end of the sequence.")


def _two_way(steps: int, form: Notation) -> Picture:
    d = Diagram("Both directions: the state before and the state after", spread=1.35)
    u, w, v = letters(form)
    x = [d.vector(t, 0, f"x_{t}", "input") for t in range(1, steps + 1)]
    forward = [d.vector(t - 0.22, 1, f"h_{t}") for t in range(steps + 1)]
    reverse = [d.vector(t + 0.22, 2, f"g_{t}", "reverse") for t in range(1, steps + 2)]
    for a, b in pairwise(forward):
        d.arrow(a, b, w)
    for a, b in zip(reverse[1:], reverse, strict=False):
        d.arrow(a, b, f"{w}'" if "_" not in w else "W_gg")
    for k, t in enumerate(range(1, steps + 1)):
        y = d.vector(t, 3, f"y_{t}", "output")
        d.arrow(x[k], forward[k + 1], u)
        d.arrow(x[k], reverse[k], f"{u}'" if "_" not in u else "W_gx")
        d.arrow(forward[k + 1], y, v)
        d.arrow(reverse[k], y, f"{v}'" if "_" not in v else "W_yg")
    return d.picture()


def _deep(steps: int, form: Notation) -> Picture:
    d = Diagram("Deep: every layer's states are the inputs of the next")
    u, w, v = letters(form)
    below: list[Vector] = [d.vector(t, 0, f"x_{t}", "input") for t in range(1, steps + 1)]
    for layer in range(1, 4):
        mark = "'" * (layer - 1)
        h = chain(d, [f"h{mark}_{t}" for t in range(steps + 1)], layer, f"{w[0]}{mark}{w[1:]}")
        for b, state in zip(below, h[1:], strict=True):
            d.arrow(b, state, f"{u[0]}{mark}{u[1:]}")
        below = h[1:]
    up(d, below, times("y", steps), "output", v)
    return d.picture("One colour, one set of weights: shared over time, not between layers.")


def draw_attention(
    weights: Sequence[Sequence[float]], source: Sequence[str], target: Sequence[str], step: int = 0
) -> Picture:
    """Return the picture of one decoder step's attention: the thicker a line, the larger its weight.

    weights: for each target token the weights of the source tokens; step: the target token that is drawn, from 0.
    Raises ArgumentError where sizes do not fit.
    """
    rows = [list(map(float, row)) for row in weights]
    if len(rows) != len(target) or any(len(row) != len(source) for row in rows):
        raise ArgumentError(f"expected {len(target)} rows of {len(source)} weights, got {[len(r) for r in rows]}")
    if not 0 <= step < len(rows):
        raise ArgumentError(f"expected step to be from 0 to {len(rows) - 1}, got {step}")
    d = Diagram(f"Attention for “{target[step]}”: c is the sum of the states, each times its weight")
    h = [d.vector(k + 1, 0, f"h_{k + 1}", "state", caption=token) for k, token in enumerate(source)]
    middle = (len(source) + 1) / 2
    c = d.vector(middle, 1.5, f"c_{step + 1}", "context")
    before = d.vector(middle - 1.3, 2.5, f"h'_{step}")
    state = d.vector(middle, 2.5, f"h'_{step + 1}")
    y = d.vector(middle, 3.5, f"y_{step + 1}", "output")
    for a, b in pairwise(h):
        d.arrow(a, b, "W")
    largest = max(rows[step]) or 1.0
    for a, weight in zip(h, rows[step], strict=True):
        d.arrow(a, c, strength=min(0.999, weight / largest))
    d.arrow(before, c, dashed=True)
    d.arrow(c, state, "C")
    d.arrow(before, state, "W'")
    d.arrow(state, y, "V")
    d.label(middle + 0.36, 3.5, target[step], "start")
    shares = "  ".join(f"{token} {weight:.2f}" for token, weight in zip(source, rows[step], strict=True))
    return d.picture(f"The weights, from the decoder's last state and each h: {shares}")


def _attention(steps: int, form: Notation) -> Picture:
    words = ["我", "爱", "中国"]
    weights = [[0.86, 0.09, 0.05], [0.10, 0.82, 0.08], [0.04, 0.11, 0.85]]
    return draw_attention(weights, words, ["I", "love", "China"], 1)


def draw_tree(tree: Tree, title: str = "A recursive network: words join to phrases") -> Picture:
    """Return the picture of a network over a tree: its leaves are words, and one set of weights joins children."""
    d = Diagram(title)
    leaves: list[Vector] = []

    def place(node: Tree) -> Vector:
        if isinstance(node, str):
            leaves.append(d.vector(len(leaves), 0, f"x_{len(leaves) + 1}", "input", caption=node))
            return leaves[-1]
        children = [place(child) for child in node]
        row = 1 + max(c.row for c in children)
        column = sum(c.column for c in children) / len(children)
        parent = d.vector(column, row, f"h_{len(d.vectors) - len(leaves) + 1}")
        for k, child in enumerate(children):
            d.arrow(child, parent, f"W_{k + 1}")
        return parent

    place(tree)
    return d.picture("The same weights join every phrase: shared over the tree.")


def draw_graph(edges: Sequence[tuple[str, str]], title: str = "A network over a graph") -> Picture:
    """Return the picture of one round of messages: every node's state takes in those of its neighbours."""
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    if not names:
        raise ArgumentError("expected at least one edge (from, to) to draw a graph")
    d = Diagram(title)
    reach = 0.55 + 0.22 * len(names)
    where = {
        name: d.vector(
            reach * math.cos(math.pi / 2 - 2 * math.pi * k / len(names)),
            reach * math.sin(math.pi / 2 - 2 * math.pi * k / len(names)), f"h_{name}",
        )
        for k, name in enumerate(names)
    }  # fmt: skip
    for a, b in edges:
        d.arrow(where[a], where[b], "M", bend=0.09)
    return d.picture("A message m goes along every edge; each node's cell takes in the sum of its messages.")


def _tree(steps: int, form: Notation) -> Picture:
    return draw_tree(("a", ("red", "bike")))


def _graph(steps: int, form: Notation) -> Picture:
    return draw_graph([("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "a"), ("d", "b"), ("e", "a"), ("c", "e")])


TOPOLOGIES: dict[str, Callable[[int, Notation], Picture]] = {
    "one-to-one": _one_to_one,
    "n-to-n": _n_to_n,
    "n-to-one": _n_to_one,
    "one-to-n-first": _one_to_n_first,
    "one-to-n-every": _one_to_n_every,
    "one-to-n-short": _one_to_n_short,
    "encoder-decoder": _encoder_decoder(
        "last",
        False,
        "N to M: the last state starts the decoder",
        "c = h at the last step; the decoder begins from it.",
    ),
    "encoder-decoder-transform": _encoder_decoder(
        "transform", False, "N to M: a transform of the last state starts the decoder", "c = q(h at the last step)."
    ),
    "encoder-decoder-all": _encoder_decoder(
        "all", False, "N to M: a transform of all states starts the decoder", "c = q(h at all steps)."
    ),
    "encoder-decoder-every": _encoder_decoder(
        "last", True, "N to M: the code is an input of every step", "c goes into every step of the decoder."
    ),
    "encoder-decoder-fed-back": _fed_back,
    "attention": _attention,
    "two-way": _two_way,
    "deep": _deep,
    **STACKED,
    **MEMORYLESS,
    "tree": _tree,
    "graph": _graph,
    "sharing": lambda steps, form: draw_sharing(steps),
}
"""The figures by name: what `recurra draw NAME` and `draw_topology` know."""
