"""What became of every cell of a network in the compiler."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from recurra.core import Cell, Wrapper
from recurra.layers.drop_ins import GRU, LSTM, RNN
from recurra.scan import CellReport, report

__all__ = ["CompileReport", "compile_report"]


@dataclass(frozen=True)
class CompileReport:
    """One report for each cell, in the order of the layers. It prints as text."""

    cells: tuple[CellReport, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.cells)) or "no cells"

    __repr__ = __str__


def compile_report(module: nn.Module, batch: int = 1) -> CompileReport:
    """Compile every cell in a module (a cell, a layer, a network) and tell what became of it.

    batch: the number of rows to compile for, which decides what is hoisted. For each cell: compiled, or the operation
    and source line that prevents it; what was hoisted, saved and computed again; the work of one step; the source's
    path.
    """
    return CompileReport(tuple(report(cell, name, batch) for name, cell in _cells(module, "")))


def _cells(module: nn.Module, prefix: str) -> list[tuple[str, Cell]]:
    if isinstance(module, Cell):
        inside = type(module).__name__
        if isinstance(module, Wrapper):
            inside += f" of {type(module.cell).__name__}"
        return [(f"{prefix}{' ' if prefix else ''}{inside}", module)]
    if isinstance(module, RNN | GRU | LSTM):
        return [
            (f"{prefix}{' ' if prefix else ''}{type(module).__name__} {k}", c)
            for k, c in enumerate(module.bound_cells())
        ]
    found: list[tuple[str, Cell]] = []
    for name, child in module.named_children():
        found += _cells(child, f"{prefix}.{name}" if prefix else name)
    return found
