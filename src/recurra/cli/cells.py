"""`recurra cells`: the cells there are."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.table import Table

from recurra import cells as registry
from recurra.cli.cell_table import cell_table
from recurra.cli.report import console
from recurra.core import split_shape

__all__ = ["cells", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(cells)


def cells(
    input_size: Annotated[int, typer.Option(help="inputs, for the counts")] = 128,
    hidden_size: Annotated[int, typer.Option(help="units, for the counts")] = 128,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="the whole table of docs/cells.md; compiles every cell")
    ] = False,
) -> None:
    """List the cells: what each is, its parameters and its state, at a size."""
    if markdown:
        print(cell_table(input_size, hidden_size), end="")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("cell", "parameters", "state", "what it is"):
        table.add_column(column, justify="right" if column == "parameters" else "left")
    for name in registry.names():
        kind = registry.get(name)
        cell = kind(input_size, hidden_size)
        count = sum(p.numel() for p in cell.parameters())
        shapes = (" x ".join(map(str, split_shape(s)[0])) or "1" for s in cell.state_shapes())
        what = (sys.modules[kind.__module__].__doc__ or "").strip().splitlines()[0]
        table.add_row(name, f"{count:,}", ", ".join(shapes), what)
    console.print(table)
    console.print(f"counts at {input_size} inputs and {hidden_size} units; your own cell: --cell FILE.py:Class")
