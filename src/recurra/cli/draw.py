"""`recurra draw WHAT`: the picture or the equations of a cell, a network over time, or a topology."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra import cells
from recurra.cli.report import console
from recurra.core import Cell, TreeCell
from recurra.core.errors import ArgumentError, UnknownNameError
from recurra.drawing import TOPOLOGIES, Picture, draw, equations
from recurra.layers import Recurrent
from recurra.tasks.contract import choose_cell

__all__ = ["draw_command", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("draw")(draw_command)


def draw_command(
    what: Annotated[str, typer.Argument(help="a cell (see `recurra cells`), FILE.py:Class, or a topology")],
    out: Annotated[Path | None, typer.Option(help="the file to write, .svg or .png; WHAT.svg if not given")] = None,
    steps: Annotated[int, typer.Option(help="steps of a network over time or of a topology")] = 4,
    over_time: Annotated[bool, typer.Option("--over-time", help="the cell as a layer, unrolled over time")] = False,
    folded: Annotated[bool, typer.Option("--folded", help="the cell as a layer, with time folded up")] = False,
    layers: Annotated[int, typer.Option(help="how many layers, over time or folded")] = 1,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="both directions")] = False,
    units: Annotated[bool, typer.Option("--units", help="open each vector into its units")] = False,
    input_size: Annotated[int, typer.Option(help="numbers in one input")] = 3,
    hidden_size: Annotated[int, typer.Option(help="units of one layer")] = 4,
    notation: Annotated[str | None, typer.Option(help="letters of the weights: paper, uvw, nndl, w_hx, z")] = None,
    equation: Annotated[bool, typer.Option("--equations", help="print the equations instead of drawing")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="print the equations as LaTeX")] = False,
) -> None:
    """Draw a cell, a network over time, or a topology; or print a cell's equations."""
    if what in TOPOLOGIES and what not in cells.names():
        if equation or latex:
            raise ArgumentError(f"expected a cell to print the equations of, got the topology {what!r}")
        _write(draw(what, steps=steps, notation=notation), out, what)
        return
    try:
        kind = cells.get_tree(what) if what in cells.tree_names() else choose_cell(what).cell
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}; the topologies are {', '.join(TOPOLOGIES)}") from None
    if equation or latex:
        found = equations(kind(input_size, hidden_size), notation or "paper")
        console.print(found if latex else found.text, markup=False, soft_wrap=True)
        return
    _write(
        _picture(kind, input_size, hidden_size, steps, over_time, folded, layers, bidirectional, units, notation),
        out,
        what.rpartition(":")[2],
    )


def _picture(
    kind: type[Cell] | type[TreeCell],
    input_size: int,
    hidden_size: int,
    steps: int,
    over_time: bool,
    folded: bool,
    layers: int,
    bidirectional: bool,
    units: bool,
    notation: str | None,
) -> Picture:
    if not (over_time or folded or layers > 1 or bidirectional or units):
        return draw(kind(input_size, hidden_size), notation=notation)
    if issubclass(kind, TreeCell):
        raise ArgumentError(f"expected a cell over time to unroll, got {kind.__name__}, whose order is a tree's")
    network = Recurrent(kind, input_size, hidden_size, layers, bidirectional=bidirectional)
    return draw(network, steps=steps, folded=folded, units=units, notation=notation)


def _write(picture: Picture, out: Path | None, name: str) -> None:
    path = out or Path(f"{name}.svg")
    if not path.parent.is_dir():
        raise ArgumentError(f"expected a file in a folder that exists, got {path}: make {path.parent} first")
    console.print(f"wrote {picture.save(path)}", soft_wrap=True)
