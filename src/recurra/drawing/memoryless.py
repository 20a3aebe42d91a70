"""Figures of the networks without memory, drawn by small ones of them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recurra.drawing.diagram import Diagram
from recurra.drawing.notation import Notation
from recurra.drawing.picture import Picture
from recurra.networks import CNN, WindowMLP

__all__ = ["MEMORYLESS"]


def _drawn(make: Callable[[], CNN | WindowMLP], title: str, note: str) -> Callable[[int, Notation], Picture]:
    def draw(steps: int, form: Notation) -> Picture:
        d = Diagram(title)
        with torch.device("meta"):  # No weights are needed, and no random numbers for them.
            make().draw_on(d, steps)
        return d.picture(note)

    return draw


MEMORYLESS: dict[str, Callable[[int, Notation], Picture]] = {
    "window": _drawn(
        lambda: WindowMLP(1, 3, [2], 1),
        "A fixed window of three inputs",
        "W_d is the same at every step; what is older than the window has no influence.",
    ),
    "cnn": _drawn(
        lambda: CNN([1, 2, 2], 2, dimensions=1),
        "Convolution and pooling in turn, then one fully connected layer",
        "Every row has one set of weights, shared over its places.",
    ),
}
"""The figures by name."""
