"""Figures of deep, two-way, sliced, convolutional and attending networks: how layers see one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from recurra.drawing.diagram import Diagram, Vector
from recurra.drawing.notation import Notation
from recurra.drawing.picture import Picture
from recurra.drawing.rows import chain, letters, times, under, up

__all__ = ["STACKED"]


def _inputs(d: Diagram, steps: int) -> list[Vector]:
    return [d.vector(t, 0, f"x_{t}", "input") for t in range(1, steps + 1)]


def _primed(name: str, layer: int) -> str:
    """Return a weight's or vector's name with as many primes as there are layers below it."""
    return f"{name[0]}{chr(39) * layer}{name[1:]}"


def _layer(d: Diagram, below: Sequence[Vector], layer: int, form: Notation, row: float) -> list[Vector]:
    """Put a layer's states, each above the vector that it reads; h_0 stands before them."""
    u, w, _ = letters(form)
    h = chain(d, times(_primed("h", layer), len(below) + 1, 0), row, _primed(w, layer))
    for b, state in zip(below, h[1:], strict=True):
        d.arrow(b, state, _primed(u, layer))
    return h[1:]


def _around(title: str, note: str, way: str, over: str) -> Callable[[int, Notation], Picture]:
    """Return the figure of two layers and the ways around them; way, over: their weights, "" for none."""

    def draw(steps: int, form: Notation) -> Picture:
        d = Diagram(title, spread=1.3)
        x = _inputs(d, steps)
        one = _layer(d, x, 0, form, 1)
        two = _layer(d, one, 1, form, 2)
        y = up(d, two, times("y", steps), "output", letters(form)[2])
        for t in range(steps):
            d.arrow(x[t], two[t], way, bend=-0.2, dashed=not way)
            d.arrow(one[t], y[t], over, bend=-0.2, dashed=not over)
        return d.picture(note)

    return draw


def _clock_rates(steps: int, form: Notation) -> Picture:
    d = Diagram("Clocks of different rates: the second layer runs at every other step")
    u, w, v = letters(form)
    one = _layer(d, _inputs(d, steps), 0, form, 1)
    two = [d.vector(t, 2, f"h'_{t}", "state") for t in range(steps + 1)]
    for t, (a, b) in enumerate(pairwise(two)):
        d.arrow(a, b, "" if t % 2 else _primed(w, 1), dashed=bool(t % 2))
        if not t % 2:
            d.arrow(one[t], b, _primed(u, 1))
    up(d, two[1:], times("y", steps), "output", v)
    return d.picture("A dashed arrow hands the state on as it is.")


def _sees_all_below(steps: int, form: Notation) -> Picture:
    d = Diagram("A state sees all steps of the layer below", spread=1.2)
    one = _layer(d, _inputs(d, steps), 0, form, 1)
    looks = [d.vector(h.column, 2.3, f"c_{t}", "context") for t, h in enumerate(one, 1)]
    for h in one:
        for c in looks:
            d.arrow(h, c, "A")
    two = _layer(d, looks, 1, form, 3.4)
    up(d, two, times("y", steps), "output", letters(form)[2])
    return d.picture("c at t is a weighted sum over all steps, later ones too; the causal form sees those up to t.")


def _sees_all_layers(steps: int, form: Notation) -> Picture:
    d = Diagram("A state sees all layers of the step before", spread=1.25)
    u, w, v = letters(form)
    rows = [[d.vector(t, 1 + k, _primed(f"h_{t}", k)) for t in range(steps + 1)] for k in range(3)]
    below = _inputs(d, steps)
    for k, row in enumerate(rows):
        for b, state in zip(below, row[1:], strict=True):
            d.arrow(b, state, _primed(u, k))
        below = row[1:]
    for k, row in enumerate(rows):
        for t in range(steps):
            for other in (row, *(r for r in rows if r is not row)):
                d.arrow(other[t], row[t + 1], _primed(w, k))
    up(d, rows[-1][1:], times("y", steps), "output", v)
    return d.picture("Three layers; arrows into one layer share its weights.")


def _separable(steps: int, form: Notation) -> Picture:
    d = Diagram("Separable: a network over what came before, one over what comes after", spread=1.5)
    u, w, v = letters(form)
    x = _inputs(d, steps)
    past = [d.vector(t - 0.26, 1, f"p_{t}") for t in range(steps)]
    after = [d.vector(t + 1.26, 2, f"f_{t + 1}", "reverse") for t in range(1, steps + 1)]
    for a, b in pairwise(past):
        d.arrow(a, b, w)
    for a, b in pairwise(after[::-1]):
        d.arrow(a, b, "W'")
    for t in range(steps):
        y = d.vector(t + 1, 3, f"y_{t + 1}", "output")
        d.arrow(past[t], y, v)
        d.arrow(after[t], y, "V'")
        d.arrow(x[t], y, "M")
        if t + 1 < steps:
            d.arrow(x[t], past[t + 1], u)
        if t:
            d.arrow(x[t], after[t - 1], "U'")
    return d.picture("p at t has read all before t + 1, f at t all from t on: neither waits for the other.")


def _sliced(steps: int, form: Notation) -> Picture:
    d = Diagram("Sliced: slices side by side, and a network over their last states")
    u, w, v = letters(form)
    many, inside = max(2, steps // 2), 3
    last: list[Vector] = []
    for k in range(many):
        start = k * (inside + 0.4)
        h = [d.vector(start + j, 1, f"h_{k * inside + j + 1}") for j in range(inside)]
        for a, b in pairwise(h):
            d.arrow(a, b, w)
        under(d, h, times("x", inside, k * inside + 1), u)
        last.append(h[-1])
    above = [d.vector(h.column, 2, f"h'_{k}") for k, h in enumerate(last, 1)]
    for h, state in zip(last, above, strict=True):
        d.arrow(h, state, _primed(u, 1))
    for a, b in pairwise(above):
        d.arrow(a, b, _primed(w, 1))
    up(d, above[-1:], ["y"], "output", v)
    return d.picture("All slices run at once: as many steps in a row as one slice has, and then as there are slices.")


def _convolutional_front(steps: int, form: Notation) -> Picture:
    d = Diagram("Convolutions over time before a recurrent layer")
    x = _inputs(d, steps)
    seen = [d.vector(t, 1, f"c_{t}", "context") for t in range(1, steps + 1)]
    for t, c in enumerate(seen):
        for k in (t, t - 1, t + 1):
            if 0 <= k < steps:
                d.arrow(x[k], c, "K")
    h = _layer(d, seen, 0, form, 2)
    up(d, h, times("y", steps), "output", letters(form)[2])
    return d.picture(
        "K is a kernel over three steps. The causal form sees the present and what came before, and streams."
    )


def _self_attention(steps: int, form: Notation) -> Picture:
    d = Diagram("Self-attention between recurrent layers", spread=1.2)
    one = _layer(d, _inputs(d, steps), 0, form, 1)
    block = [d.vector(h.column, 2.3, f"a_{t}", "context") for t, h in enumerate(one, 1)]
    for h, a in zip(one, block, strict=True):
        d.arrow(h, a, dashed=True)
    for h in one:
        for a in block:
            if a.column != h.column:
                d.arrow(h, a, "A")
    two = _layer(d, block, 1, form, 3.4)
    up(d, two, times("y", steps), "output", letters(form)[2])
    return d.picture("Around the attention there is a way: the dashed arrows.")


def _forecaster(steps: int, form: Notation) -> Picture:
    d = Diagram("Encoder and forecaster: each layer begins from the encoder's at its height")
    u, w, v = letters(form)
    one = chain(d, times("h", steps + 1, 0), 1, w)
    two = chain(d, times("h'", steps + 1, 0), 2, _primed(w, 1))
    under(d, one[1:], times("x", steps), u)
    for a, b in zip(one[1:], two[1:], strict=True):
        d.arrow(a, b, _primed(u, 1))
    many, start = max(2, steps - 1), steps + 1
    low = [d.vector(start + k, 1, f"g_{k}") for k in range(1, many + 1)]
    high = [d.vector(start + k, 2, f"g'_{k}") for k in range(1, many + 1)]
    for row, first, weights in ((low, one[-1], "G"), (high, two[-1], "G'")):
        d.arrow(first, row[0], dashed=True)
        for a, b in pairwise(row):
            d.arrow(a, b, weights)
    for a, b in zip(low, high, strict=True):
        d.arrow(a, b, "F")
    up(d, high, times("y", many), "output", v)
    d.group([*one, *two], "encoder")
    d.group([*low, *high], "forecaster")
    return d.picture("Vectors are grids here, arrows convolutions.")


def _spatial_attention(steps: int, form: Notation) -> Picture:
    d = Diagram("Attention over places: sensors are weighed anew at every step", spread=1.1)
    shares = [0.15, 0.55, 0.2, 0.1]
    x = [d.vector(k, 0, f"x_{k}", "input", caption=f"sensor {k}") for k in range(1, 5)]
    seen = d.vector(2.5, 1.4, "u_t", "context")
    before, now = d.vector(1, 2.5, "h_t-1"), d.vector(2.5, 2.5, "h_t")
    for a, share in zip(x, shares, strict=True):
        d.arrow(a, seen, strength=share / 0.56)
    d.arrow(before, seen, dashed=True)
    d.arrow(seen, now, letters(form)[0])
    d.arrow(before, now, letters(form)[1])
    return d.picture("The weights come from what each sensor holds and from the last state.")


def _temporal_attention(steps: int, form: Notation) -> Picture:
    d = Diagram("Attention over times: the last state asks which of all states matter")
    h = _layer(d, _inputs(d, steps), 0, form, 1)
    c = d.vector((steps + 1) / 2, 2.3, "c", "context")
    o = d.vector(steps, 3.2, "o", "output")
    for t, state in enumerate(h):
        d.arrow(state, c, strength=0.15 + 0.8 * ((t * 2 + 1) % steps) / steps)
    d.arrow(c, o, letters(form)[2])
    d.arrow(h[-1], o, "V'")
    return d.picture("The thicker a line, the larger the weight of its step.")


STACKED: dict[str, Callable[[int, Notation], Picture]] = {
    "deep-skip": _around("Skip connections: the input reaches every layer, every layer the outputs", "", "S", "V'"),
    "deep-add": _around(
        "Around every layer there is a way",
        "Dashed: added as it is (residual), or in shares by a gate (highway).",
        "",
        "",
    ),
    "clock-rates": _clock_rates,
    "sees-all-below": _sees_all_below,
    "sees-all-layers": _sees_all_layers,
    "separable": _separable,
    "sliced": _sliced,
    "convolutional-front": _convolutional_front,
    "self-attention": _self_attention,
    "forecaster": _forecaster,
    "spatial-attention": _spatial_attention,
    "temporal-attention": _temporal_attention,
}
"""The figures by name."""
