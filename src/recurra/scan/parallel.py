"""The parallel scan: a cell that is linear in its state runs over all steps at once, in about log2 T rounds.

s_t = A_t s_{t-1} + b_t for all t: neighbouring steps are joined into one, (A' A, A' b + b'), and half as many are left;
their states being known, those in between follow. Gradients of any order flow through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.errors import Unsupported
from recurra.compiler.interpret import Evaluation
from recurra.compiler.linear import Recurrence
from recurra.compiler.trace import named_tensors
from recurra.core import Shared, State
from recurra.core.errors import BackendError
from recurra.scan.hoisted import Folded
from recurra.scan.lengths import reverse_valid
from recurra.scan.problem import Problem, Result
from recurra.scan.programs import Program, program_for
from recurra.scan.reference import reference

__all__ = ["parallel", "scan_linear"]


def parallel(problem: Problem) -> Result:
    """Run the parallel scan. Raises BackendError where the step is not linear in the state, with the operation."""
    try:
        program = program_for(problem, True)
        groups = program.recurrences()
        if any(group.kind == "changing matrix" for group in groups):
            raise Unsupported("linear", "the state is multiplied by a matrix that changes from step to step")
        if any(_size(problem, group) > _LARGEST for group in groups if group.kind == "matrix"):
            raise Unsupported("linear", f"a matrix over more than {_LARGEST} entries of the state is not worth a scan")
    except Unsupported as refused:
        name = type(problem.cell).__name__
        raise BackendError(f"backend 'parallel' cannot run {name}: {refused}; use backend='auto'") from refused
    if problem.x.shape[0] == 0:
        return reference(problem)
    if not problem.reverse:
        return _Solution(problem, program).run(groups)
    x, *per_step = (reverse_valid(v, problem.lengths) for v in (problem.x, *problem.per_step))
    turned = problem._replace(x=x, per_step=tuple(per_step), reverse=False)
    y, final, states = _Solution(turned, program).run(groups)
    y, *aligned = (reverse_valid(v, problem.lengths) for v in (y, *(states or ())))
    return Result(y, final, None if states is None else tuple(aligned))


_LARGEST = 1024
"""Entries of a state whose matrix is squared log2 T times; beyond, that costs more than any loop."""


def _size(problem: Problem, group: Recurrence) -> int:
    return sum(prod(problem.state[k].shape[1:]) for k in group.members)


def scan_linear(a: Tensor, b: Tensor) -> Tensor:
    """Return s `(T, B, ...)` with s_t = a_t * s_{t-1} + b_t, s_{-1} = 0.

    b: `(T, B, ...)`; a: the same, multiplied entry by entry; or one matrix `(N, N)` for all steps, b being `(T, B, N)`:
    s_t = s_{t-1} a + b_t.
    """
    return _scan(a, b, _matrix if a.dim() == 2 and b.dim() == 3 else _entries)


_Join = Callable[[Tensor, Tensor, slice], Tensor]


def _entries(a: Tensor, s: Tensor, steps: slice) -> Tensor:
    return a[steps] * s


def _matrix(a: Tensor, s: Tensor, steps: slice) -> Tensor:
    return s @ a


def _scan(a: Tensor, b: Tensor, apply: _Join) -> Tensor:
    T = b.shape[0]
    if T < 2:
        return b
    first, second, later = slice(0, T - T % 2, 2), slice(1, T, 2), slice(2, T, 2)
    both = a @ a if apply is _matrix else a[second] * a[first]
    odd = _scan(both, apply(a, b[first], second) + b[second], apply)
    even = torch.cat([b[:1], apply(a, odd[: (T - 1) // 2], later) + b[later]])
    woven = torch.stack([even[: T // 2], odd], 1).flatten(0, 1)
    return woven if T % 2 == 0 else torch.cat([woven, even[-1:]])


def _delayed(new: Tensor, start: Tensor, places: tuple[int, ...]) -> Tensor:
    """Return the states `(T, B, N)` of a delay, from what enters it `(T, B, N)` and its first state `(B, N)`.

    An entry at depth d holds what entered d steps ago, and before that what lay d entries up the line at first.
    """
    steps = new.shape[0]
    depths: dict[int, list[list[int]]] = {}
    for entry in range(len(places)):
        line = [entry]
        while places[line[-1]] >= 0:
            line.append(places[line[-1]])
        depths.setdefault(len(line) - 1, []).append(line)
    columns: list[Tensor] = []
    order: list[int] = []
    for depth, lines in depths.items():
        first = [start[:, [line[t + 1] for line in lines]] for t in range(min(depth, steps))]
        entered = new[: max(0, steps - depth), :, [line[-1] for line in lines]]
        columns.append(torch.cat([torch.stack(first), entered]) if first else entered)
        order += [line[0] for line in lines]
    return torch.cat(columns, 2)[:, :, torch.tensor(order, device=new.device).argsort()]


class _Solution:
    """One call: the groups are solved one after the other, then y is made of all states at once."""

    def __init__(self, problem: Problem, program: Program) -> None:
        self._problem = problem
        self._traced = traced = program.staged.traced
        self._folded = Folded(problem)
        steps = problem.x.shape[0]
        own = program.leaves(dict(named_tensors(problem.cell)))
        self._known: dict[Any, Tensor] = {v: t.to(problem.x.device) for v, t in own.items()}
        self._known[traced.x] = self._folded.fold(problem.x)
        count = len(problem.per_call)
        for leaf, c in zip(traced.context[:count], problem.per_call, strict=True):
            rows = c.tensor if isinstance(c, Shared) else self._folded.fold(c.expand(steps, *c.shape))
            self._known[leaf] = rows
        for leaf, c in zip(traced.context[count:], problem.per_step, strict=True):
            self._known[leaf] = self._folded.fold(c)

    def run(self, groups: list[Recurrence]) -> Result:
        """Return what the loop returns."""
        problem, traced, fold = self._problem, self._traced, self._folded.fold
        states: dict[int, Tensor] = {}
        for group in groups:
            for k, s in zip(group.members, self._solve(group), strict=True):
                states[k] = s
                self._known[traced.state[k]] = fold(torch.cat([problem.state[k][None], s[:-1]]))
        made = {v: fold(states[k]) for k, v in enumerate(traced.new)}
        (y,) = self._evaluate([traced.y], made)
        kept = tuple(states[k] for k in range(len(traced.new)))
        final = tuple(self._last(s, start) for s, start in zip(kept, problem.state, strict=True))
        return Result(self._folded.unfold(y), final, self._cleared(kept) if problem.keep_states else None)

    def _solve(self, group: Recurrence) -> list[Tensor]:
        """Return the states `(T, B, ...)` of a group."""
        new = [self._traced.new[k] for k in group.members]
        start = [self._problem.state[k] for k in group.members]
        rows = self._folded.rows
        if group.kind == "none":
            return [self._folded.unfold(v) for v in self._evaluate(new, {})]
        nothing = {
            self._traced.state[k]: s.new_zeros(rows, *s.shape[1:]) for k, s in zip(group.members, start, strict=True)
        }
        b = [self._folded.unfold(v) for v in self._evaluate(new, nothing)]
        if group.kind == "delay":
            return [_delayed(b[0].flatten(2), start[0].flatten(1), group.places).reshape(b[0].shape)]
        if group.kind == "diagonal":
            (seed,), (first,) = group.seeds, start
            (change,) = self._evaluate(list(group.change), {seed: first.new_ones(rows, *first.shape[1:])})
            a = self._folded.unfold(change)
            return [scan_linear(a, torch.cat([(a[0] * first + b[0][0])[None], b[0][1:]]))]
        sizes = [prod(s.shape[1:]) for s in start]
        unit = torch.eye(sum(sizes), dtype=start[0].dtype, device=start[0].device).split(sizes, 1)
        seeds = {v: u.reshape(-1, *s.shape[1:]) for v, u, s in zip(group.seeds, unit, start, strict=True)}
        changes = self._evaluate(list(group.change), seeds, sum(sizes))
        matrix = torch.cat([c.flatten(1) for c in changes], 1)
        joined = torch.cat([v.flatten(2) for v in b], 2)
        joined = torch.cat([(torch.cat([s.flatten(1) for s in start], 1) @ matrix + joined[0])[None], joined[1:]])
        solved = scan_linear(matrix, joined).split(sizes, 2)
        return [v.reshape(b[k].shape) for k, v in enumerate(solved)]

    def _evaluate(self, outputs: list[Any], given: Mapping[Any, Tensor], rows: int | None = None) -> list[Tensor]:
        known = {**self._known, **given}
        return Evaluation(outputs, known)(known, self._folded.rows if rows is None else rows, self._problem.x)

    def _last(self, s: Tensor, start: Tensor) -> Tensor:
        """Return each row's state after its last valid step."""
        lengths = self._problem.lengths
        if lengths is None:
            return s[-1]
        n = torch.tensor(lengths, device=s.device)
        found = s[(n - 1).clamp_min(0), torch.arange(s.shape[1], device=s.device)]
        return torch.where((n > 0).reshape(-1, *[1] * (s.dim() - 2)), found, start)

    def _cleared(self, states: State) -> State:
        """Make all states zero in the padding."""
        if self._problem.lengths is None:
            return states
        return tuple(self._folded.unfold(self._folded.fold(s)) for s in states)
