"""The table of cells, trees and wrappers as Markdown: `docs/cells.md`, made from the docstrings and the compiler."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable

import torch
from torch import nn

from recurra import cells, wrappers
from recurra.core import Cell, split_shape
from recurra.layers import compile_report

__all__ = ["cell_table"]

_INPUTS, _UNITS = 3, 4  # sizes at which cells are compiled here: small ones take the compiler least time
_WHERE = re.compile(r" \(\w+\.py:\d+, in \w+\)")


def cell_table(input_size: int, hidden_size: int) -> str:
    """Return the whole page. Parameters and states are counted at these sizes; every cell is compiled."""
    with torch.random.fork_rng(devices=[]):
        return "\n".join(_page(input_size, hidden_size))


def _page(input_size: int, hidden_size: int) -> Iterable[str]:
    yield "# The cells"
    yield ""
    yield "Made by `recurra cells --markdown`; a test keeps it current. The head of each file tells what every weight"
    yield "is, the order of the gates, and where we deviate from the paper."
    yield ""
    yield f"Parameters and the state of one row are counted at {input_size} inputs and {hidden_size} units."
    yield "*Compiled*: whether the step becomes a kernel, or why it runs by the loop. *Linear*: how the new state"
    yield "follows from the old where that is linear, as found from the traced step (`delay`: it holds past inputs"
    yield 'only); such cells run by `backend="parallel"` too.'
    yield ""
    yield "| cell | equation | parameters | state | compiled | linear | paper |"
    yield "|---|---|---:|---|---|---|---|"
    for name in cells.names():
        kind = cells.get(name)
        made = kind(input_size, hidden_size)
        (found,) = compile_report(kind(_INPUTS, _UNITS)).cells
        compiled = "yes" if found.compiled else _WHERE.sub("", found.reason)
        sizes = _count(made), _state(made)
        row = _link(name, kind), _equation(kind), *sizes, compiled, found.linear or "no", _paper(kind)
        yield _row(row)
    yield ""
    yield "## Over trees"
    yield ""
    yield "| cell | equation | parameters | paper |"
    yield "|---|---|---:|---|"
    for name in cells.tree_names():
        tree = cells.get_tree(name)
        made = tree(input_size, hidden_size)
        yield _row((_link(name, tree), _equation(tree), _count(made), _paper(tree)))
    yield ""
    yield "## Wrappers"
    yield ""
    yield "A cell in, a cell out, under every backend."
    yield ""
    yield "| wrapper | equation | source |"
    yield "|---|---|---|"
    for name in wrappers.names():
        wrapper = wrappers.get(name)
        yield _row((_link(name, wrapper), _equation(wrapper), _paper(wrapper)))
    yield ""


def _row(entries: Iterable[str]) -> str:
    escaped = (entry.replace("|", "\\|") for entry in entries)
    return f"| {' | '.join(escaped)} |"


def _link(name: str, kind: type[nn.Module]) -> str:
    folder = kind.__module__.replace("recurra.", "src/recurra/").replace(".", "/")
    return f"[`{name}`](../{folder}.py)"


def _equation(kind: type[nn.Module]) -> str:
    """Return the first indented block of the docstring, a line of code each."""
    text = inspect.getdoc(kind) or ""
    found = re.search(r"(?:^ {4,}\S.*\n?)+", text, re.MULTILINE)
    lines = found[0].splitlines() if found else []
    return "<br>".join(" ".join(f"`{part}`" for part in re.split(" {3,}", line.strip())) for line in lines)


def _paper(kind: type[nn.Module]) -> str:
    text = " ".join((inspect.getdoc(kind) or "").split())
    found = re.search(r"(?:Papers?|Source): (.*?) Deviation:", text)
    return found[1] if found else ""


def _count(made: nn.Module) -> str:
    return f"{sum(p.numel() for p in made.parameters()):,}"


def _state(made: Cell) -> str:
    declared = [split_shape(entry) for entry in made.state_shapes()]
    sized: Callable[[tuple[int, ...]], str] = lambda shape: " x ".join(map(str, shape)) or "1"  # noqa: E731
    return ", ".join(sized(shape) + (" int64" if own == torch.int64 else "") for shape, own in declared)
