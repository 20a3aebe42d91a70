"""One figure: a convolution shares its weights in space, a recurrence in time."""

from __future__ import annotations

from recurra.drawing.diagram import Diagram
from recurra.drawing.picture import Picture

__all__ = ["draw_sharing"]


def draw_sharing(steps: int = 4) -> Picture:
    """Return the figure of both side by side: the same few weights at every place, and at every step."""
    d = Diagram("Shared weights: a CNN in space, an RNN in time")
    places = [d.vector(k, 0, f"x_{k + 1}", "input") for k in range(steps + 2)]
    for k in range(steps):
        h = d.vector(k + 1, 1, f"h_{k + 1}", "state")
        for j in range(3):
            d.arrow(places[k + j], h, f"K_{j + 1}")
    d.label((steps + 1) / 2, -0.52, "space: the same K at every place")
    start = steps + 3.0
    before = d.vector(start, 1, "h_0")
    for t in range(1, steps + 1):
        x = d.vector(start + t, 0, f"x_{t}", "input")
        h = d.vector(start + t, 1, f"h_{t}")
        d.arrow(x, h, "U")
        d.arrow(before, h, "W")
        before = h
    d.label(start + (steps + 1) / 2, -0.52, "time: the same U and W at every step")
    return d.picture("Fewer parameters, learned from every place and every step.")
