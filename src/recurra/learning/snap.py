"""SnAp-1: RTRL that keeps influence only where a parameter reaches within one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from recurra.learning.forward_mode import ForwardMode
from recurra.learning.rule import Carry, StepLoss

__all__ = ["SnAp1"]


class SnAp1:
    """J_t = mask * (D_t J_{t-1} + ∂h_t/∂θ), the mask being where ∂h_t/∂θ can be other than zero.

    A biased gradient in memory and time of about the number of parameters. For cells whose units hear only themselves
    (diagonal, independent) the mask leaves nothing out, and it is RTRL. Options as in `RTRL`.

    In a stack, one step reaches from a layer into all layers above it: the mask has those numbers too.

    Source: Menick, Elsen, Evci, Osindero, Simonyan and Graves, "A practical sparse approximation for real time
    recurrent learning" (2020), arXiv v1. Deviation: a loss hears J_{t-1} through the whole of its step, so that the
    mask takes one step's influence less from it than from the paper's ∂L_t/∂h_t J_t.
    """

    def __init__(self, block: int = 32, memory: float | None = None) -> None:
        self._mode = ForwardMode("SnAp1", False, block, memory)

    def accumulate(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        carry: Carry | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, Carry]:
        """See `LearningRule.accumulate`; refuses what `RTRL` refuses."""
        return self._mode.accumulate(network, inputs, targets, loss, carry, lengths)

    def memory_needed(self, network: nn.Module, inputs: Tensor) -> int:
        """Return the bytes of the influence of the rows of `inputs`; raises ArgumentError where they are too many."""
        return self._mode.memory_needed(network, inputs)
