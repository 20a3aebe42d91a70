"""UORO: an unbiased estimate of RTRL's influence by one outer product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.learning.bptt import target_rows
from recurra.learning.rule import Carry, StepLoss
from recurra.learning.sparsity import derivatives
from recurra.learning.stepper import Stepper, started

__all__ = ["UORO"]


class UORO:
    """J_t is estimated by s_t θ_tᵀ, whose expectation is J_t:

        s_t = ρ0 D_t s_{t-1} + ρ1 ν_t,    θ_t = θ_{t-1} / ρ0 + νᵀ_t (∂h_t/∂θ) / ρ1

    with random signs ν_t, and ρ0, ρ1 such that both vectors of each product are of the same length. Unbiased, in memory
    and time of about the number of parameters; the noise grows with the size of the state and the length of memory.
    Each row has an estimate of its own.

    seed: of the signs; their generator's state is carried.

    Source: Tallec and Ollivier, "Unbiased online recurrent optimization" (2017), arXiv v3. Deviation: none.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def accumulate(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        carry: Carry | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, Carry]:
        """See `LearningRule.accumulate`; refuses bidirectional networks and steps that draw random numbers."""
        stepper, active, total = started("UORO", network, inputs, lengths)
        batch = inputs.shape[1]
        with torch.no_grad():
            state = stepper.initial_state(batch) if carry is None else carry.state
        if len(inputs) and batch:
            stepper.refuse_chance(inputs[0], state)
        generator = torch.Generator()
        own = carry.own if carry is not None else {}
        if own:
            generator.set_state(own["generator"].cpu())
        else:
            generator.manual_seed(self.seed)
        if "s" in own:
            s, theta = own["s"], own["theta"]
        else:
            s, theta = _start(stepper, batch, generator, carry is None or bool(own))
        for t, x in enumerate(inputs):
            rows = active[t]
            index = torch.arange(batch, device=x.device) if rows is None else rows
            if not len(index):
                continue
            part, after, s_new, theta_new = _learn(
                stepper, x[index], target_rows(targets, t, rows), loss, stepper.form.take(state, index),
                s[index], theta[index], generator,
            )  # fmt: skip
            total = total + part
            state = stepper.form.put(state, index, after)
            s, theta = s.index_copy(0, index, s_new), theta.index_copy(0, index, theta_new)
        return total, Carry(state, {"s": s, "theta": theta, "generator": generator.get_state()})

    def memory_needed(self, network: nn.Module, inputs: Tensor) -> int:
        """Return the bytes of the two vectors of each row."""
        stepper = Stepper(network, "UORO")
        numbers = sum(p.numel() for p in stepper.parameters.values()) + stepper.form.size
        return numbers * inputs.shape[1] * stepper.like.element_size()


def _start(stepper: Stepper, batch: int, generator: torch.Generator, fresh: bool) -> tuple[Tensor, Tensor]:
    """Return the two vectors before the first step: of a learned initial state, one draw, else zeros."""
    like = stepper.like
    size = sum(p.numel() for p in stepper.parameters.values())
    s, theta = like.new_zeros(batch, stepper.form.size), like.new_zeros(batch, size)
    start = stepper.form.pack(stepper.initial_state(1))[0]
    if not (fresh and start.requires_grad):
        return s.detach(), theta.detach()
    signs = _signs(s, generator)
    found = derivatives(start, list(stepper.parameters.values()), signs.unsqueeze(1))
    return signs, torch.cat([g.reshape(batch, -1) for g in found], 1)


def _learn(
    stepper: Stepper,
    x: Tensor,
    target: Any,
    loss: StepLoss,
    state: Any,
    s: Tensor,
    theta: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Any, Tensor, Tensor]:
    """Learn from one step; return its loss, the new state, and the two vectors after it."""
    numbers, others = stepper.form.pack(state)
    weights = {n: p.detach().expand(len(x), *p.shape).requires_grad_() for n, p in stepper.parameters.items()}
    before = numbers.detach().requires_grad_()
    with torch.enable_grad():
        y, after, clocks = stepper.rowwise(weights, {}, x, before, others)
        part = loss(y, target)
    leaves = list(weights.values())
    if part.requires_grad:
        pull, *direct = derivatives(part, [before, *leaves])
        whole = torch.cat([g.reshape(len(x), -1) for g in direct], 1) + (pull * s).sum(1, keepdim=True) * theta
        sizes = [p.numel() for p in stepper.parameters.values()]
        split = whole.sum(0).split(sizes)
        named = zip(stepper.parameters.items(), split, strict=True)
        stepper.add_gradients({n: g.view_as(p) for (n, p), g in named})
    signs = _signs(s, generator)
    moved = _times(after, before, s)
    found = derivatives(after, leaves, signs.unsqueeze(0))
    new = torch.cat([g.reshape(len(x), -1) for g in found], 1)
    rho0, rho1 = _balance(theta, moved), _balance(new, signs)
    return (
        part.detach(),
        stepper.form.unpack(after.detach(), clocks),
        rho0 * moved + rho1 * signs,
        theta / rho0 + new / rho1,
    )


def _times(after: Tensor, before: Tensor, s: Tensor) -> Tensor:
    """Return D s, forward through a backward pass, which every operation with a gradient can do."""
    dummy = torch.zeros_like(after, requires_grad=True)
    (back,) = torch.autograd.grad(after, before, dummy, create_graph=True, allow_unused=True, materialize_grads=True)
    if not back.requires_grad:
        return torch.zeros_like(after)
    (moved,) = torch.autograd.grad(back, dummy, s, retain_graph=True, allow_unused=True, materialize_grads=True)
    return moved


def _balance(a: Tensor, b: Tensor) -> Tensor:
    """Return sqrt(|a| / |b|) `(R, 1)`, and 1 where either is zero: any factor is unbiased."""
    left, right = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    usable = (left > 0) & (right > 0)
    return torch.where(usable, (left / right.clamp_min(1e-30)).sqrt(), torch.ones_like(left))


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.randint(0, 2, like.shape, generator=generator) * 2 - 1).to(like)
