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
from recurra.scan.run import Run, run_for

__all__ = ["compiled_loop", "trained"]


def compiled_loop(problem: Problem, program: Program, inputs: LoopInputs) -> tuple[list[Tensor], State, State | None]:
    """Run the loop by its kernels. Raises Unsupported where they cannot be made."""
    flat = inputs.flat
    run = run_for(program.compiled[problem.keep_states], problem, inputs)
    if torch.is_grad_enabled() and any(t.requires_grad for t in flat):
        outputs, finals = trained(run, program, problem, flat)
    else:
        outputs, found = run.infer(flat, problem.lengths)
        finals = tuple(found)
    if not problem.keep_states:
        return outputs, finals, None
    count = len(outputs) - len(finals)
    return outputs[:count], finals, tuple(outputs[count:])


def trained(run: Run, program: Program, problem: Problem, flat: Sequence[Tensor]) -> tuple[list[Tensor], State]:
    """Run the loop so that gradients flow; return outputs and final states."""
    made = _Loop.apply(run, program, problem, *flat)
    count = len(run.compiled.plan.outputs)
    return list(made[:count]), made[count:]


class _Loop(torch.autograd.Function):
    """The loop for autograd. The gradient of its gradient runs by the loop of PyTorch operations."""

    @staticmethod
    def forward(ctx: Any, run: Run, program: Program, problem: Problem, *flat: Tensor) -> tuple[Tensor, ...]:
        outputs, finals, kept = run.forward(flat, problem.lengths)
        ctx.run, ctx.program, ctx.problem = run, program, problem
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*flat, *kept)
        made, integers = run.results(outputs, finals)
        if integers:
            ctx.mark_non_differentiable(*integers)
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        run: Run = ctx.run
        saved = ctx.saved_tensors
        flat, wanted = saved[: run.count], ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():
            found = _by_torch(run, ctx.program, ctx.problem, flat, grads, wanted)
        else:
            found = run.backward(flat, saved[run.count :], grads, wanted, ctx.problem)
        return (None, None, None, *found)


def _by_torch(
    run: Run,
    program: Program,
    problem: Problem,
    flat: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Return gradients through PyTorch's own operations: differentiable again."""
    with torch.enable_grad():
        outputs, final, states = torch_loop(problem, program, run.split(flat))
        made = [*outputs, *(states or ()), *([s.unsqueeze(0) for s in final] if run.stacked else final)]
        pairs = [(o, g) for o, g in zip(made, grads, strict=True) if g is not None and o.requires_grad]
        asked = [t for t, w in zip(flat, wanted, strict=True) if w]
        found = iter(torch.autograd.grad(
            [o for o, _ in pairs], asked, [g for _, g in pairs], create_graph=True, allow_unused=True
        ))  # fmt: skip
    return [next(found) if w else None for w in wanted]
