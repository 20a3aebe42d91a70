"""Truncated backpropagation through time: every k1 steps, back over the last k2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.bptt import run_steps
from recurra.learning.rule import Carry, StepLoss
from recurra.learning.state_form import map_state
from recurra.learning.stepper import Stepper, started

__all__ = ["TruncatedBPTT"]


class TruncatedBPTT:
    """BPTT(k2; k1) of Williams and Peng (1990): every k1 steps, the losses of these steps go back over the last k2.

    window: k2. every: k1, at most k2 and k2 if not given: windows side by side, the state cut between them. A smaller
    k1 gives every loss at least `k2 - k1` steps of past, and runs every step k2 / k1 times. Windows begin where a call
    begins; with k1 < k2, the `k2 - k1` steps before a call are not looked into, so that the state is all there is to
    carry. For streams that the trainer feeds window by window, see `StreamBPTT`.
    """

    def __init__(self, window: int, every: int | None = None) -> None:
        if window < 1:
            raise ArgumentError(f"window must be at least 1, got {window}")
        if every is not None and not 1 <= every <= window:
            raise ArgumentError(f"every must be from 1 to the window {window}, got {every}")
        if window % (every or window):
            raise ArgumentError(f"expected a window that is a multiple of every, got {window} and {every}")
        self.window = window
        self.every = window if every is None else every

    def accumulate(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        carry: Carry | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, Carry]:
        """See `LearningRule.accumulate`; `.grad` gets the sum over all windows."""
        stepper, active, total = started("TruncatedBPTT", network, inputs, lengths)
        steps = inputs.shape[0]
        state = None if carry is None else carry.state
        starts: list[tuple[int, Any]] = []
        for start in range(0, steps, self.every):
            end = min(start + self.every, steps)
            starts.append((start, state))
            starts = [(at, s) for at, s in starts if at >= end - self.window or at == start]
            first, begun = starts[0]
            if begun is None:  # made anew each time, as its graph can be gone through only once
                begun = stepper.initial_state(inputs.shape[1])
            _, reached = run_steps(stepper, inputs, targets, _no_loss, begun, active, range(first, start))
            part, after = run_steps(stepper, inputs, targets, loss, reached, active, range(start, end))
            if part.requires_grad:
                part.backward()
            total = total + part.detach()
            state = map_state(after, Tensor.detach)
        return total, Carry(map_state(stepper.initial_state(inputs.shape[1]), Tensor.detach) if not steps else state)

    def memory_needed(self, network: nn.Module, inputs: Tensor) -> int:
        """Return the bytes that a window keeps beside the parameters."""
        stepper = Stepper(network, "TruncatedBPTT")
        return min(self.window, len(inputs)) * stepper.kept(inputs[0], stepper.initial_state(inputs.shape[1]))


def _no_loss(y: Tensor, _target: Any) -> Tensor:
    return y.new_zeros(())
