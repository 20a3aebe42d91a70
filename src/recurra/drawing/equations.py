"""A cell's equations in the form of papers, made from its step."""

from __future__ import annotations

from recurra.compiler.errors import Unsupported
from recurra.core import Cell, TreeCell
from recurra.core.errors import ArgumentError, CellError
from recurra.drawing.formula import plain, to_latex
from recurra.drawing.notation import notation_called
from recurra.drawing.reading import read_step
from recurra.drawing.wording import Wording

__all__ = ["Equations", "equations"]


class Equations(str):
    """A step's equations as LaTeX; shown as formulas in notebooks.

    text: the same as plain text, one a line; symbols: for every weight's symbol (as LaTeX) the parameters that it
    stands for.
    """

    __slots__ = ("symbols", "text")
    text: str
    symbols: dict[str, str]

    def _repr_latex_(self) -> str:
        return f"$$\n{self}\n$$"


def equations(cell: Cell | TreeCell, notation: str = "paper") -> Equations:
    r"""Return the equations of a cell, LaTeX in an `aligned` environment: `i_t &= \sigma(W_{i} x_{t} + ...)`.

    They are made from what `step` does, under the names of its local variables. notation: the letters of the weights,
    one of `recurra.drawing.NOTATIONS`: "paper", "uvw", "nndl", "w_hx", "z". Biases that are only ever added to one
    another are one letter. Raises CellError where the step cannot be told, with the reason, and ArgumentError where
    what is given is not a cell.
    """
    if not isinstance(cell, Cell | TreeCell):
        raise ArgumentError(f"expected a recurra.Cell to write the equations of, got {type(cell).__name__}")
    form = notation_called(notation)
    try:
        wording = Wording(read_step(cell), form)
    except Unsupported as refused:
        raise CellError(f"the equations of {type(cell).__name__} cannot be told from its step: {refused}") from refused
    made = wording.equations()
    lines = [to_latex(e).replace(" = ", " &= ", 1) for e in made]
    found = Equations("\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}")
    found.text = "\n".join(plain(e) for e in made)
    found.symbols = wording.legend()
    return found
