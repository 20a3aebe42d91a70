"""The compiled loop as a function of PyTorch: one call of generated C++ forward, one backward, and one of matrix
products after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.core import State
from recurra.scan.hoisted import LoopInputs, torch_loop
from recurra.scan.problem import Problem
from recurra.scan.programs import Program
from recurra.scan.run import Run

__all__ = ["compiled_loop"]


def compiled_loop(problem: Problem, program: Program, inputs: LoopInputs) -> tuple[list[Tensor], State, State | None]:
    """Run the loop by its kernels. Raises Unsupported where they cannot be made."""
    compiled = program.compiled[problem.keep_states]
    run = Run(compiled, problem, inputs)
    if torch.is_grad_enabled() and any(t.requires_grad for t in inputs.flat):
        made = _Loop.apply(run, program, *inputs.flat)
        count = len(compiled.plan.outputs)
        outputs, finals = list(made[:count]), tuple(made[count:])
    else:
        outputs, found = run.infer(inputs)
        finals = tuple(found)
    if not problem.keep_states:
        return outputs, finals, None
    count = len(outputs) - len(finals)
    return outputs[:count], finals, tuple(outputs[count:])


class _Loop(torch.autograd.Function):
    """The loop for autograd. The gradient of its gradient runs by the loop of PyTorch operations."""

    @staticmethod
    def forward(ctx: Any, run: Run, program: Program, *flat: Tensor) -> tuple[Tensor, ...]:
        outputs, finals, kept = run.forward(run.split(flat))
        ctx.run, ctx.program = run, program
        ctx.save_for_backward(*flat, *kept)
        made = (*outputs, *finals)
        ctx.mark_non_differentiable(*(t for t in made if not t.is_floating_point()))
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        run: Run = ctx.run
        saved = ctx.saved_tensors
        count = run.count
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            return (None, None, *_by_torch(run, ctx.program, saved[:count], grads, wanted))
        found = run.backward(run.split(saved[:count]), saved[count:], grads, wanted)
        return (None, None, *(g if w else None for g, w in zip(found, wanted, strict=True)))


def _by_torch(
    run: Run, program: Program, flat: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Return gradients through PyTorch's own operations: differentiable again."""
    with torch.enable_grad():
        outputs, final, states = torch_loop(run.problem, program, run.split(flat))
        made = [*outputs, *(states or ()), *final]
        pairs = [(o, g) for o, g in zip(made, grads, strict=True) if g is not None and o.requires_grad]
        asked = [t for t, w in zip(flat, wanted, strict=True) if w]
        found = iter(torch.autograd.grad(
            [o for o, _ in pairs], asked, [g for _, g in pairs], create_graph=True, allow_unused=True
        ))  # fmt: skip
    return [next(found) if w else None for w in wanted]
