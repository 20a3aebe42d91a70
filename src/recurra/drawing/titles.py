"""Cells by name, as a picture says it: `LSTM`, `GRU reset before`, `Zoneout of LSTM`."""

from __future__ import annotations

import re

from torch import nn

from recurra.core import Wrapper

__all__ = ["title_of"]


def title_of(cell: nn.Module) -> str:
    """Return what a cell is called: its class's name as words, and what is wrapped around what."""
    name = _words(type(cell).__name__.removesuffix("Cell"), type(cell).__module__.rpartition(".")[2])
    return f"{name} of {title_of(cell.cell)}" if isinstance(cell, Wrapper) else name


def _words(name: str, file: str) -> str:
    """Cut a class's name into words: as its file is called, where that is the same (`cifg_lstm`), or at capitals."""
    if file.replace("_", "") == name.lower():
        lengths = [len(word) for word in file.split("_")]
        return " ".join(name[sum(lengths[:k]) : sum(lengths[: k + 1])] for k in range(len(lengths)))
    return " ".join(re.findall(r"[A-Z]{2,}(?=[A-Z][a-z]|$|\d)|[A-Z]?[a-z]+|[A-Z]+|\d+", name)) or name
