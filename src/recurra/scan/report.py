"""What became of a cell in the compiler, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Value, row_size, topological
from recurra.compiler.trace import named_tensors
from recurra.core import Cell
from recurra.core.errors import RecurraError
from recurra.scan.compiled import explain
from recurra.scan.problem import Problem
from recurra.scan.programs import Program, program_for
from recurra.scan.scan import check_context

__all__ = ["CellReport", "report"]


@dataclass(frozen=True)
class CellReport:
    """One cell: compiled, or the operation and source line that prevents it.

    hoisted: what runs before the loop, or many steps ahead of it where the batch is small; saved: entries for each row
    and step that training keeps in memory; recomputed: operations that the backward does again; flops: of the matrix
    products of one row's step, forward; bytes: read and written by one row's step, forward while training; source: the
    generated C++. linear: how the new state follows from the old where that is linear ("diagonal", "matrix",
    "changing matrix", "delay": it holds past inputs only), "" where it is not.
    """

    name: str
    compiled: bool
    reason: str = ""
    hoisted: tuple[str, ...] = ()
    saved: int = 0
    recomputed: int = 0
    flops: int = 0
    bytes: int = 0
    source: Path | None = None
    linear: str = ""

    def __str__(self) -> str:
        if not self.compiled:
            linear = f"\n  linear     in its state: {self.linear}" if self.linear else ""
            return f"{self.name}: runs by the loop\n  because    {self.reason}{linear}"
        lines = [
            f"{self.name}: compiled",
            f"  hoisted    {', '.join(self.hoisted) or 'nothing'}",
            f"  saved      {self.saved} numbers a row and step; {self.recomputed} operations computed again",
            f"  one step   {self.flops} FLOP and {self.bytes} bytes a row",
            f"  source     {self.source}",
        ]
        if self.linear:
            lines.insert(-1, f"  linear     in its state: {self.linear}")
        return "\n".join(lines)


def report(cell: Cell, name: str = "", batch: int = 1) -> CellReport:
    """Compile a cell, for `batch` rows, and tell what became of it."""
    name = name or type(cell).__name__
    like = next((t for _, t in named_tensors(cell) if t.is_floating_point()), torch.zeros(()))
    with torch.no_grad():
        x = like.new_zeros(1, batch, *cell.input_shape)
        try:
            given = cell.make_context((), 1, batch, x.device, x.dtype)
            per_call, per_step = check_context(given, 1, batch)
            state = cell.initial_state(batch, device=x.device, dtype=x.dtype)
        except (RecurraError, TypeError, ValueError, IndexError) as error:
            return CellReport(name, False, f"it cannot be tried without a context ({error})")
    with torch.enable_grad():
        problem = Problem(cell, x.requires_grad_(), state, per_call, per_step, None, False, False)
        found = explain(problem)
        linear = _linear(problem)
    if isinstance(found, str):
        return CellReport(name, False, found, linear=linear)
    return _describe(name, found, x.element_size(), linear)


def _linear(problem: Problem) -> str:
    """Return how the step is linear in its state: the least simple kind among its groups of states."""
    kinds = ["none", "delay", "diagonal", "matrix", "changing matrix"]
    try:
        found = [group.kind for group in program_for(problem, True).recurrences()]
    except Unsupported:
        return ""
    worst = max(found, key=kinds.index, default="none")
    return "delay" if worst == "none" else worst


def _describe(name: str, program: Program, size: int, linear: str) -> CellReport:
    plan = program.plan()
    forward = plan.forward
    own = [v for v in forward.results if not any(v is o for o in plan.outputs)]
    kernel = program.compiled[False].kernels["train"]
    moved = [
        *forward.per_step,
        *forward.results,
        *(c.before for c in forward.carried),
        *(c.after for c in forward.carried),
    ]
    hoisted = tuple(_named(v) for v in [*program.staged.before, *kernel.early])
    return CellReport(
        name, True, "", hoisted, sum(row_size(v.shape) for v in own),
        _recomputed(program), kernel.flops, size * sum(row_size(v.shape) for v in moved), kernel.source, linear,
    )  # fmt: skip


def _named(v: Value) -> str:
    return f"{v.op} of {row_size(v.shape)}" + (f" ({v.where})" if v.where else "")


def _recomputed(program: Program) -> int:
    """Count the forward's operations that the backward does again."""
    plan = program.plan()
    assert plan.backward is not None
    memory = {*plan.backward.per_step, *plan.staged.leaves, *plan.new}
    backward = topological([c.after for c in (*plan.backward.carried, *plan.backward.histories)], memory)
    forward = set(topological([*plan.outputs, *plan.new], plan.staged.leaves)) - memory
    return sum(v in forward and v.op not in ("fill", "slice", "expand", "permute", "reshape") for v in backward)
