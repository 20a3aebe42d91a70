"""The trial of a compiled cell: before it is first used, it must equal the reference loop on a few small sequences."""

# torch.nn.Module's tables of tensors are public in all but their names.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recurra.compiler.errors import Unsupported
from recurra.core import Shared, State
from recurra.scan.problem import Problem, Result
from recurra.scan.reference import reference

__all__ = ["try_out"]

_STEPS, _BATCH = 3, 3
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}


def try_out(problem: Problem, run: Callable[[Problem], Result], train: bool) -> None:
    """Compare `run` with the reference loop on random inputs like those of `problem`.

    Finds whatever a trace cannot see: a custom gradient, a value read behind PyTorch's back. Raises Unsupported.
    """
    small = _small(problem)
    with torch.enable_grad() if train else torch.no_grad():
        truth = _values(small, reference, train)
        if any(t.is_floating_point() and bool(t.isnan().any()) for t in truth) and problem.x.shape[1]:
            # Random states can be none that the cell ever reaches (a share below 0, say), and NaN proves nothing.
            small = small._replace(state=tuple(_start(s) for s in problem.state))
            truth = _values(small, reference, train)
        found = _values(small, run, train)
    if len(truth) != len(found):
        raise Unsupported("trial", "other results than the loop")
    for a, b in zip(truth, found, strict=True):
        if a.shape != b.shape or not torch.allclose(
            a.double(), b.double(), rtol=_TOLERANCE[problem.x.dtype], atol=_TOLERANCE[problem.x.dtype], equal_nan=True
        ):
            raise Unsupported("trial", "other values than the loop: the step does something that a trace cannot see")


def _small(problem: Problem) -> Problem:
    generator = torch.Generator().manual_seed(0)

    def like(t: Tensor, *lead: int, keep: int) -> Tensor:
        shape = (*lead, *t.shape[keep:])
        if t.is_floating_point():
            return (torch.rand(shape, generator=generator, dtype=t.dtype) * 2 - 1).requires_grad_()
        if t.dtype == torch.bool:
            return torch.rand(shape, generator=generator) < 0.5
        return torch.randint(0, 5, shape, generator=generator, dtype=t.dtype)

    return Problem(
        problem.cell,
        like(problem.x, _STEPS, _BATCH, keep=2),
        tuple(like(s, _BATCH, keep=1) for s in problem.state),
        tuple(Shared(_alone(c.tensor)) if isinstance(c, Shared) else like(c, _BATCH, keep=1) for c in problem.per_call),
        tuple(like(c, _STEPS, _BATCH, keep=2) for c in problem.per_step),
        None,
        problem.reverse,
        problem.keep_states,
    )


def _start(s: Tensor) -> Tensor:
    """Return the first row of a state that the caller gave, for all rows of the trial."""
    with torch.no_grad():
        rows = s[:1].repeat(_BATCH, *[1] * (s.dim() - 1)).detach()
    return rows.requires_grad_() if rows.is_floating_point() else rows


def _alone(t: Tensor) -> Tensor:
    """Return a tensor cut off from what it was made of: the trial's gradients must not use up the caller's graph."""
    return t.detach().requires_grad_(t.is_floating_point())


def _values(problem: Problem, run: Callable[[Problem], Result], train: bool) -> Sequence[Tensor]:
    y, state, states = run(problem)
    made = [y, *state, *(states or ())]
    if not train:
        return made
    inputs = _differentiable(problem)
    loss = torch.zeros((), dtype=problem.x.dtype)
    for k, t in enumerate(made):
        if t.requires_grad:
            weight = torch.linspace(-1.0, 1.0 + k, max(1, t.numel()), dtype=t.dtype)[: t.numel()].reshape(t.shape)
            loss = loss + (t * weight).sum()
    if not loss.requires_grad:
        return made
    return [*made, *torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)]


def _differentiable(problem: Problem) -> list[Tensor]:
    context: State = tuple(c.tensor if isinstance(c, Shared) else c for c in problem.per_call)
    given = [problem.x, *problem.state, *context, *problem.per_step]
    own = [t for t in problem.cell.parameters() if t.requires_grad]
    bound = [t for t in problem.cell._parameters.values() if t is not None and t.requires_grad]
    return list(dict.fromkeys(t for t in [*given, *own, *bound] if t.requires_grad))
