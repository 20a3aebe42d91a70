"""The hoisted loop: what does not depend on the carried state runs over all steps at once, before and after the
loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from recurra.compiler.errors import Unsupported
from recurra.compiler.trace import named_tensors
from recurra.core import Cell, Shared, State
from recurra.core.errors import BackendError
from recurra.scan.problem import Problem, Result
from recurra.scan.programs import Program, program_for
from recurra.scan.reference import reference

__all__ = ["Folded", "LoopInputs", "LoopRunner", "around", "hoisted", "torch_loop"]


class LoopInputs(NamedTuple):
    """What a loop runs on: tensors without time, with rows, with time and rows, and the state.

    A kernel takes None for a state of zeros.
    """

    once: list[Tensor]
    call: list[Tensor]
    steps: list[Tensor]
    state: Sequence[Tensor | None]

    @property
    def flat(self) -> list[Tensor]:
        """All of them, but for states of zeros that are not there."""
        return [*self.once, *self.call, *self.steps, *(s for s in self.state if s is not None)]


LoopRunner: TypeAlias = Callable[[Problem, Program, LoopInputs], tuple[list[Tensor], State, "State | None"]]
"""Runs the loop alone: `(outputs (T, B, ...), final state, all states or None)`."""


class Folded:
    """Time and batch as one dimension of rows, the valid steps only."""

    def __init__(self, problem: Problem) -> None:
        self.steps, self.batch = problem.x.shape[:2]
        self._valid: Tensor | None = None
        if problem.lengths is not None:
            n = torch.tensor(problem.lengths, device=problem.x.device)
            valid = torch.arange(self.steps, device=problem.x.device).unsqueeze(1) < n
            self._valid = valid.flatten().nonzero().squeeze(1)
        self.rows = self.steps * self.batch if self._valid is None else self._valid.shape[0]

    def fold(self, v: Tensor) -> Tensor:
        """Return `(T, B, ...)` as `(rows, ...)`."""
        flat = v.reshape(self.steps * self.batch, *v.shape[2:])
        return flat if self._valid is None else flat.index_select(0, self._valid)

    def unfold(self, v: Tensor) -> Tensor:
        """Undo `fold`; the padding is zero."""
        if self._valid is not None:
            v = v.new_zeros(self.steps * self.batch, *v.shape[1:]).index_copy(0, self._valid, v)
        return v.reshape(self.steps, self.batch, *v.shape[1:])


def hoisted(problem: Problem) -> Result:
    """Run the hoisted loop. Raises BackendError where the step cannot be traced."""
    try:
        program = program_for(problem, True)
    except Unsupported as refused:
        raise BackendError(f"backend 'hoisted' cannot run {type(problem.cell).__name__}: {refused}") from refused
    return around(problem, program, torch_loop)


def around(problem: Problem, program: Program, loop: LoopRunner, own: Mapping[str, Tensor] | None = None) -> Result:
    """Run what comes before the loop, the loop, and what comes after it. own: the cell's tensors, if they are known."""
    staged, traced = program.staged, program.staged.traced
    batch = problem.x.shape[1]
    like = problem.x
    folded: Folded | None = None
    env: dict[Any, Tensor] = program.leaves(dict(named_tensors(problem.cell)) if own is None else own)
    per_step: dict[Any, Tensor] = {traced.x: problem.x}
    for leaf, c in zip(traced.context, [*problem.per_call, *problem.per_step], strict=True):
        if isinstance(c, Shared):
            env[leaf] = c.tensor
    count = len(problem.per_call)
    rows = zip(traced.context[:count], problem.per_call, strict=True)
    env.update({leaf: c for leaf, c in rows if not isinstance(c, Shared)})
    per_step.update(zip(traced.context[count:], problem.per_step, strict=True))
    if staged.once:
        env.update(zip(staged.once, program.once(env, batch, like), strict=True))
    if staged.per_call:
        env.update(zip(staged.per_call, program.per_call(env, batch, like), strict=True))
    if staged.before or program.after is not None:
        folded = Folded(problem)
    if staged.before and folded is not None:
        used = {v: folded.fold(t) for v, t in per_step.items() if v in program.before.leaves}
        made = program.before({**env, **used}, folded.rows, like)
        per_step.update(zip(staged.before, [folded.unfold(m) for m in made], strict=True))
    inputs = LoopInputs(
        [env[v] for v in staged.loop_once],
        [env[v] for v in staged.loop_call],
        [per_step[v] for v in staged.loop_steps],
        list(problem.state),
    )
    outputs, final, states = loop(problem, program, inputs)
    if program.after is None or folded is None:
        return Result(outputs[0], final, states)
    given = {**env, **{v: folded.fold(t) for v, t in per_step.items() if v in program.after.leaves}}
    given.update(zip(staged.outputs, [folded.fold(o) for o in outputs], strict=True))
    (y,) = program.after(given, folded.rows, like)
    return Result(folded.unfold(y), final, states)


class _LoopCell(Cell):
    """The loop's part of a step as a cell, so that the reference loop runs it with all its care for lengths."""

    def __init__(self, program: Program, inputs: LoopInputs, like: Tensor) -> None:
        super().__init__(1, 1)
        self.program, self.inputs, self.like = program, inputs, like
        shapes = [v.shape[1:] for v in program.staged.outputs]
        self.sizes = [max(1, torch.Size(s).numel()) for s in shapes]
        self.shapes = shapes
        self.output_shape = (sum(self.sizes),)
        staged = program.staged
        self.once: dict[Any, Tensor] = dict(zip(staged.loop_once, inputs.once, strict=True))
        fixed = program.fixed
        self.once.update(zip(fixed.outputs, fixed(self.once, like.shape[1], like), strict=True))

    def step(self, x: Tensor, state: State, context: Sequence[Any] = ()) -> tuple[Tensor, State]:
        staged = self.program.staged
        given = dict(self.once)
        given.update(zip([*staged.loop_call, *staged.loop_steps], context, strict=True))
        given.update(zip(staged.state, state, strict=True))
        made = self.program.loop(given, x.shape[0], self.like)
        count = len(staged.outputs)
        parts = [o.reshape(x.shape[0], n).to(self.like.dtype) for o, n in zip(made[:count], self.sizes, strict=True)]
        return torch.cat(parts, 1) if count > 1 else parts[0], tuple(made[count:])


def torch_loop(problem: Problem, program: Program, inputs: LoopInputs) -> tuple[list[Tensor], State, State | None]:
    """Run the loop with PyTorch, one step at a time. Gradients of any order flow through it."""
    cell = _LoopCell(program, inputs, problem.x)
    steps, batch = problem.x.shape[:2]
    clock = problem.x.new_zeros(steps, batch, 1)
    inner = Problem(
        cell, clock, _states(problem, inputs), tuple(inputs.call), tuple(inputs.steps),
        problem.lengths, problem.reverse, problem.keep_states,
    )  # fmt: skip
    y, final, states = reference(inner)
    outputs = [o.reshape(steps, batch, *s) for o, s in zip(y.split(cell.sizes, 2), cell.shapes, strict=True)]
    return outputs, final, states


def _states(problem: Problem, inputs: LoopInputs) -> State:
    given = [s for s in inputs.state if s is not None]
    if len(given) == len(inputs.state):
        return tuple(given)
    x = problem.x
    return problem.cell.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
