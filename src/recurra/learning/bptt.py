"""Backpropagation through time: the whole sequence is kept, or parts of it are computed again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.clipping import clip_state_gradient
from recurra.learning.rule import Carry, StepLoss
from recurra.learning.state_form import map_state, state_leaves
from recurra.learning.stepper import Stepper, started

__all__ = ["BPTT", "run_steps", "target_rows"]


class BPTT:
    """The gradient of the whole sequence's loss, back to its first step: dL/dθ = Σ_t Σ_k δ_{t,k} ∂z_k/∂θ.

    recompute: the steps between states that are kept; what lies between two of them is computed again on the way
    back. None keeps everything; 0 takes about sqrt(T), so that memory grows with sqrt(T) at the price of one more
    forward pass. Gradients are the same. clip: bound of each element of the gradient that a state hands to the step
    before, see `clip_state_gradient`; 0: none. No gradient goes into a state that was carried in.

    Source: Werbos, "Backpropagation through time: what it does and how to do it" (1990); recomputing in time: Chen, Xu,
    Zhang and Guestrin, "Training deep nets with sublinear memory cost" (2016), arXiv v2.
    """

    def __init__(self, recompute: int | None = None, clip: float = 0.0) -> None:
        if recompute is not None and recompute < 0:
            raise ArgumentError(f"recompute must be zero (about sqrt(T)) or a number of steps, got {recompute}")
        if clip < 0:
            raise ArgumentError(f"clip must be zero (off) or above, got {clip}")
        self.recompute = recompute
        self.clip = clip

    def accumulate(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        carry: Carry | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, Carry]:
        """See `LearningRule.accumulate`."""
        stepper, active, total = started("BPTT", network, inputs, lengths)
        steps = inputs.shape[0]
        state = stepper.initial_state(inputs.shape[1]) if carry is None else carry.state
        every = self._every(steps)
        spans = [range(start, min(start + every, steps)) for start in range(0, steps, max(every, 1))]
        starts: list[tuple[Any, list[Tensor]]] = []
        for span in spans[:-1]:
            starts.append((state, _generators()))
            with torch.no_grad():
                part, state = run_steps(stepper, inputs, targets, loss, state, active, span)
            total = total + part
        starts.append((state, []))
        pulls: list[Tensor | None] = []
        for k, span in reversed(list(enumerate(spans))):
            before, generators = starts.pop()
            if k:  # the first may be learned itself
                before = map_state(before, lambda s: s.detach().requires_grad_(s.is_floating_point()))
            with _as_then(generators):
                part, after = run_steps(stepper, inputs, targets, loss, before, active, span, self.clip)
            if k == len(spans) - 1:
                total, state = total + part.detach(), map_state(after, Tensor.detach)
            ends = [(part, torch.ones_like(part)), *zip(state_leaves(after), pulls, strict=False)]
            felt = [(end, pull) for end, pull in ends if pull is not None and end.requires_grad]
            if felt:
                torch.autograd.backward([end for end, _ in felt], [pull for _, pull in felt])
            pulls = [leaf.grad for leaf in state_leaves(before)] if k else []
        return total.detach(), Carry(map_state(state, Tensor.detach))

    def memory_needed(self, network: nn.Module, inputs: Tensor) -> int:
        """Return the bytes that are kept of `inputs` `(T, B, ...)` beside the parameters: T times those of a step; with
        `recompute`, those between two states that are kept, and these states."""
        stepper = Stepper(network, "BPTT")
        steps, batch = inputs.shape[:2]
        each = stepper.kept(inputs[0], stepper.initial_state(batch))
        every = self._every(steps)
        kept = 0 if self.recompute is None else stepper.form.size * batch * stepper.like.element_size()
        return each * every + kept * -(-steps // every)

    def _every(self, steps: int) -> int:
        return steps if self.recompute is None else self.recompute or max(math.isqrt(steps), 1)


def run_steps(
    stepper: Stepper,
    inputs: Tensor,
    targets: Any,
    loss: StepLoss,
    state: Any,
    active: Sequence[Tensor | None],
    span: range,
    clip: float = 0.0,
) -> tuple[Tensor, Any]:
    """Return the loss summed over the steps of `span`, with its graph, and the state after them."""
    total = torch.zeros((), dtype=stepper.like.dtype, device=stepper.like.device)
    for t in span:
        rows = active[t]
        if rows is not None and not rows.numel():
            continue
        y, state = stepper.step(inputs[t], state, rows)
        total = total + loss(y, target_rows(targets, t, rows))
        if clip:
            state = clip_state_gradient(state, clip)
    return total, state


def target_rows(targets: Any, t: int, rows: Tensor | None) -> Any:
    """Return the targets of step t, of some rows or of all."""
    target = targets[t]
    return target if rows is None else target[rows]


def _generators() -> list[Tensor]:
    """Return the states of the generators of random numbers."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


@contextlib.contextmanager
def _as_then(generators: list[Tensor]) -> Generator[None]:
    """Draw the random numbers of a moment once more; as they come, where that moment is now (an empty list)."""
    if not generators:
        yield
        return
    now = _generators()
    _set(generators)
    try:
        yield
    finally:
        _set(now)


def _set(generators: list[Tensor]) -> None:
    torch.set_rng_state(generators[0])
    for k, generator in enumerate(generators[1:]):
        torch.cuda.set_rng_state(generator, k)
