"""One step of a cell, for streaming: equals a call of `scan`, one step at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell, Shared, State, call_step
from recurra.core.errors import ShapeError
from recurra.scan.backends import choose
from recurra.scan.compiled import again, run_program, worth_streaming
from recurra.scan.problem import Problem
from recurra.scan.scan import check_context, check_input, check_state

__all__ = ["step"]


def step(
    cell: Cell,
    x: Tensor,
    state: State | None = None,
    *,
    context: tuple[Any, ...] = (),
    active: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, State]:
    """Return `(y, new_state)` of one time step.

    x: `(B, *input_shape)`; context: as for `scan` with T = 1; active: `(B,)` bool, the live rows: the others' state
    stays as it is, bit for bit, their output is zero, and their input has no influence.
    """
    choose(backend)
    check_input(cell, x, "B")
    batch = x.shape[0]
    if active is None and not context and backend in ("auto", "cpp"):
        if state is not None:
            check_state(cell, state, batch)
        done = again(cell, x.unsqueeze(0), state, None, False, False, not torch.is_grad_enabled())
        if done is not None:
            return done.y[0], done.state
    if state is None:
        state = cell.initial_state(batch, device=x.device, dtype=x.dtype)
    check_state(cell, state, batch)
    per_call, per_step = check_context(cell.make_context(context, 1, batch, x.device, x.dtype), 1, batch)
    now = tuple(v[0] for v in per_step)
    if active is None:
        problem = Problem(cell, x.unsqueeze(0), state, per_call, per_step, None, False, False)
        if backend == "cpp" or (backend == "auto" and worth_streaming(problem)):
            done = run_program(problem) if backend == "auto" else choose(backend)(problem)
            return done.y[0], done.state
        return call_step(cell, x, state, (*(c.tensor if isinstance(c, Shared) else c for c in per_call), *now))

    if active.dtype != torch.bool or tuple(active.shape) != (batch,):
        raise ShapeError(f"active must be a bool tensor of shape ({batch},), got {active.dtype} {tuple(active.shape)}")
    rows = active.nonzero().squeeze(1)
    constant = (c.tensor if isinstance(c, Shared) else c[rows] for c in per_call)
    y, new = call_step(cell, x[rows], tuple(s[rows] for s in state), (*constant, *(v[rows] for v in now)))
    whole = y.new_zeros(batch, *y.shape[1:]).index_copy(0, rows, y)
    return whole, tuple(old.index_copy(0, rows, s) for old, s in zip(state, new, strict=True))
