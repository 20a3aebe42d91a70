"""The reference loop: a plain Python loop over `step`. It is the truth that every faster backend must equal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.core import Shared, State, call_step
from recurra.scan.lengths import Rows, reverse_valid
from recurra.scan.problem import Problem, Result

__all__ = ["reference"]


def reference(problem: Problem) -> Result:
    """Run `step` once for each time step.

    With lengths, the rows are put in order of length, so that those still running at a step are the first n: a
    sequence that has ended takes no part any more. Its state is frozen bit for bit, and what lies in its padding,
    NaN included, reaches neither values nor gradients.
    """
    x, per_step = problem.x, problem.per_step
    if problem.reverse:
        x, *per_step = (reverse_valid(v, problem.lengths) for v in (x, *per_step))
    rows = Rows(problem.lengths, *x.shape[:2], device=x.device)
    # Not x[t], whose gradient would be a whole sequence of zeros but for one step.
    xs, *timed = (rows.sort(v, 1).unbind(0) for v in (x, *per_step))
    state = tuple(rows.sort(s, 0) for s in problem.state)
    per_call = tuple(c if isinstance(c, Shared) else rows.sort(c, 0) for c in problem.per_call)

    outputs: list[Tensor] = []
    history: list[State] = []
    for t, n in enumerate(rows.running):
        y, new = _step(problem, xs[t], state, per_call, tuple(v[t] for v in timed), n)
        outputs.append(rows.pad(y))
        if problem.keep_states:
            history.append(tuple(rows.pad(s) for s in new))
        state = tuple(_freeze(s, old) for s, old in zip(new, state, strict=True))

    y = rows.unsort(_stack(outputs, problem), 1)
    states = _histories(history, state, problem) if problem.keep_states else ()
    states = tuple(rows.unsort(s, 1) for s in states)
    if problem.reverse:
        y, *aligned = (reverse_valid(v, problem.lengths) for v in (y, *states))
        states = tuple(aligned)
    final = tuple(rows.unsort(s, 0) for s in state)
    return Result(y, final, states if problem.keep_states else None)


def _step(
    problem: Problem, x: Tensor, state: State, per_call: Sequence[Tensor | Shared], per_step: Sequence[Tensor], n: int
) -> tuple[Tensor, State]:
    """Call the cell on the first n rows."""
    constant = (c.tensor if isinstance(c, Shared) else c[:n] for c in per_call)
    context = (*constant, *(v[:n] for v in per_step))
    return call_step(problem.cell, x[:n], tuple(s[:n] for s in state), context)


def _freeze(new: Tensor, old: Tensor) -> Tensor:
    return new if new.shape[0] == old.shape[0] else torch.cat([new, old[new.shape[0] :]])


def _stack(outputs: list[Tensor], problem: Problem) -> Tensor:
    T, B = problem.x.shape[:2]
    if not outputs:
        return problem.x.new_zeros(T, B, *problem.cell.output_shape)
    y = torch.stack(outputs)
    return torch.cat([y, y.new_zeros(T - len(outputs), *y.shape[1:])]) if len(outputs) < T else y


def _histories(history: list[State], final: State, problem: Problem) -> State:
    T, B = problem.x.shape[:2]
    kept: list[Tensor] = []
    for k, last in enumerate(final):
        padding = last.new_zeros(T - len(history), B, *last.shape[1:])
        kept.append(torch.cat([torch.stack([s[k] for s in history]), padding]) if history else padding)
    return tuple(kept)
