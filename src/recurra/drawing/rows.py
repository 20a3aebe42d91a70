"""Rows of vectors over time, and what stands above and below them: what figures of topologies are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from recurra.drawing.diagram import Diagram, Vector
from recurra.drawing.notation import Notation

__all__ = ["chain", "letters", "times", "under", "up"]


def letters(form: Notation) -> tuple[str, str, str]:
    """Return the names of the weights from input to state, from state to state, from state to output."""
    if form.joined:
        return "W", "W", "W'"
    return ("W_hx", "W_hh", "W_yh") if form.ends else (form.inputs, form.recurrent, form.output)


def chain(d: Diagram, names: Sequence[str], row: float, weights: str, start: float = 0) -> list[Vector]:
    """Put states in a row, each made from the one before."""
    made = [d.vector(start + k, row, name) for k, name in enumerate(names)]
    for a, b in pairwise(made):
        d.arrow(a, b, weights)
    return made


def up(d: Diagram, lower: Sequence[Vector], names: Sequence[str], kind: str, weights: str) -> list[Vector]:
    """Put outputs above vectors."""
    made = [d.vector(h.column, h.row + 1, name, kind) for h, name in zip(lower, names, strict=True)]
    for h, y in zip(lower, made, strict=True):
        d.arrow(h, y, weights)
    return made


def under(d: Diagram, upper: Sequence[Vector], names: Sequence[str], weights: str) -> list[Vector]:
    """Put inputs below vectors."""
    made = [d.vector(h.column, h.row - 1, name, "input") for h, name in zip(upper, names, strict=True)]
    for x, h in zip(made, upper, strict=True):
        d.arrow(x, h, weights)
    return made


def times(name: str, steps: int, first: int = 1) -> list[str]:
    """Return the names of a vector at so many steps."""
    return [f"{name}_{t}" for t in range(first, first + steps)]
