"""`recurra.draw`: the picture of whatever it is given."""

from __future__ import annotations

from typing import Any

from torch import nn

from recurra.core import Cell, TreeCell
from recurra.core.errors import ArgumentError
from recurra.drawing.cell_diagram import cell_diagram
from recurra.drawing.diagram import Diagram
from recurra.drawing.picture import Picture
from recurra.drawing.topologies import draw_topology
from recurra.drawing.unrolled import draw_folded, draw_unrolled, find_layers
from recurra.networks import Synchronous

__all__ = ["draw"]


def draw(
    what: Cell | TreeCell | nn.Module | str,
    *,
    steps: int = 4,
    notation: str | None = None,
    folded: bool = False,
    batch: Any = None,
    units: bool = False,
    title: str = "",
) -> Picture:
    """Return a picture of a cell, a layer, a network, or a topology.

    A cell's picture is the diagram of its step, made by running it once; a layer's or network's is the network over
    `steps` steps, or folded, and a name's is that topology's figure (`recurra.drawing.TOPOLOGIES`). notation: the
    letters of weights, one of `recurra.drawing.NOTATIONS`. batch: inputs as the network takes them; the values of the
    first sequence colour the vectors. units: open each vector into its units. A network with a method
    `draw_on(diagram, steps)` draws itself: it puts vectors and arrows on a `recurra.drawing.Diagram`; one with an
    attribute `topology`, a topology's name, is drawn as that figure.

    In a notebook the picture shows itself; `draw(...).save("picture.svg")` writes it. Raises ArgumentError for
    something that is none of these.
    """
    if isinstance(what, str):
        return draw_topology(what, steps=steps, notation=notation or "uvw")
    if isinstance(what, Cell | TreeCell):
        return cell_diagram(what, notation or "paper", title)
    own = getattr(what, "draw_on", None)
    if callable(own):
        diagram = Diagram(title or type(what).__name__, open_units=units)
        own(diagram, steps)
        return diagram.picture()
    topology = getattr(what, "topology", None)
    shows_values = isinstance(what, Synchronous) and find_layers(what) is not None
    if isinstance(what, nn.Module) and isinstance(topology, str) and not shows_values:
        return draw_topology(topology, steps=steps, notation=notation or "uvw")
    if not isinstance(what, nn.Module):
        raise ArgumentError(
            "expected a recurra.Cell, a layer, a network or a topology's name to draw, "
            f"got {type(what).__name__}" + (": make an object of the class first" if isinstance(what, type) else "")
        )
    if folded:
        return draw_folded(what, notation=notation or "paper", units=units, title=title)
    return draw_unrolled(what, steps=steps, notation=notation or "paper", batch=batch, units=units, title=title)
