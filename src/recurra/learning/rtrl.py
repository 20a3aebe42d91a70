"""Real-time recurrent learning: exact gradients that go forward in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from recurra.learning.forward_mode import ForwardMode
from recurra.learning.rule import Carry, StepLoss

__all__ = ["RTRL"]


class RTRL:
    """Exact gradients, online, in memory that does not depend on the number of steps.

        J_t = D_t J_{t-1} + ∂h_t/∂θ,    D_t = ∂h_t/∂h_{t-1},    dL/dθ = Σ_t ∂L_t/∂h_t J_t + (what L_t hears directly)

    At fixed weights the gradient is that of full BPTT, over the borders of calls too. Where the weights change between
    calls, J holds derivatives by the weights of earlier steps: the gradient is then stale by as much as the weights
    moved within the network's memory, which small learning rates keep small (see benchmarks/results/rtrl.md).

    J has an entry for each parameter and each number of the state that it can ever reach, found by trying the step: all
    numbers for an LSTM, those of its own unit for a diagonal or independent cell, those of its own layer and the ones
    above in a stack. Time a step: states * states * parameters / block for dense cells, parameters for diagonal ones.

    block: steps whose products with J are taken together, within a call, eight times as many for diagonal cells; it
    changes rounding alone. memory: GB that J may take (what is free, if None); what needs more is refused before it
    starts.

    Source: Williams and Zipser, "A learning algorithm for continually running fully recurrent neural networks" (1989).
    Deviation: J's sparsity, and the products taken together, after Schmidhuber, "A fixed size storage O(n^3) time
    complexity learning algorithm for fully recurrent continually running networks" (1992).
    """

    def __init__(self, block: int = 32, memory: float | None = None) -> None:
        self._mode = ForwardMode("RTRL", True, block, memory)

    def accumulate(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        carry: Carry | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, Carry]:
        """See `LearningRule.accumulate`. Raises ArgumentError for bidirectional networks, steps that draw random
        numbers, and influence matrices that are too large."""
        return self._mode.accumulate(network, inputs, targets, loss, carry, lengths)

    def memory_needed(self, network: nn.Module, inputs: Tensor) -> int:
        """Return the bytes of the influence of the rows of `inputs`; raises ArgumentError where they are too many."""
        return self._mode.memory_needed(network, inputs)
