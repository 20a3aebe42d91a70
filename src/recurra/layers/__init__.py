"""Cells as layers: `Recurrent` for any cell, and drop-ins for torch.nn's RNN, GRU and LSTM."""

from recurra.layers.compile_report import CompileReport, compile_report
from recurra.layers.drop_ins import GRU, LSTM, RNN
from recurra.layers.recurrent import CellFactory, Recurrent, cell_factory
from recurra.layers.tree_cells import TreeCellFactory, tree_cell_factory

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CellFactory",
    "CompileReport",
    "Recurrent",
    "TreeCellFactory",
    "cell_factory",
    "compile_report",
    "tree_cell_factory",
]
