"""Two directions over a sequence, and the ways to bring them together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import CellFactory, Recurrent
from recurra.networks.channels import ChannelLinear
from recurra.networks.ragged import Lengths, check_parts, check_sequences, reversed_rows

__all__ = ["MERGES", "TwoWay"]

MERGES = ("concat", "sum", "mean", "gated")
"""The ways to bring both directions together."""


class TwoWay(nn.Module):
    """One network from the left, one from the right, each its own cell and size; f_t and r_t are their outputs.

        concat   y_t = [f_t; r_t]
        sum      y_t = f_t + r_t
        mean     y_t = (f_t + r_t) / 2
        gated    y_t = g f_t + (1 - g) r_t,    g = sigmoid(W [f_t; r_t] + b)

    cell: of both directions; reverse: the other direction's, if it has one of its own; reverse_size: its hidden size.
    All but concat need both directions' outputs to be of one size. x: `(B, T, input_size)`, or grids with channels
    first. State: `(the forward layer's, the reverse layer's)`, after each row's last and first step. It needs the whole
    sequence.

    Paper: Schuster and Paliwal, "Bidirectional recurrent neural networks", IEEE Trans. Signal Processing 45 (1997).
    Deviation: sum, mean and gate are common since, without one source.
    """

    topology = "two-way"

    def __init__(
        self,
        cell: CellFactory,
        input_size: int,
        hidden_size: int,
        merge: str = "concat",
        *,
        reverse: CellFactory | None = None,
        reverse_size: int | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if merge not in MERGES:
            raise ArgumentError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
        self.input_size = input_size
        self.merge = merge
        self.forwards = Recurrent(cell, input_size, hidden_size, batch_first=True, backend=backend)
        self.backwards = Recurrent(
            reverse or cell, input_size, reverse_size or hidden_size, batch_first=True, backend=backend
        )
        one, other = self.forwards.output_size, self.backwards.output_size
        if merge != "concat" and one != other:
            raise ArgumentError(f"merge {merge!r} needs both directions to be of one size, got {one} and {other}")
        self.gate = ChannelLinear(one + other, one) if merge == "gated" else None
        self.output_size = one + other if merge == "concat" else one

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[Any, Any]]:
        """Return y `(B, T, output_size)`, zero in the padding, and both layers' states."""
        check_sequences("TwoWay", x, self.input_size)
        first, second = check_parts("TwoWay", state, 2, "one for each direction")
        f, forward_state = self.forwards(x, first, lengths=lengths)
        r, reverse_state = self.backwards(reversed_rows(x, lengths), second, lengths=lengths)
        return self._merged(f, reversed_rows(r, lengths)), (forward_state, reverse_state)

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, Any]:
        """Raise ArgumentError: y_t depends on all later inputs."""
        raise ArgumentError(
            "TwoWay reads from the right too, so that y_t depends on inputs that have not come, and it cannot run step "
            "by step: give whole sequences, or take Separable with a look-ahead"
        )

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"

    def _merged(self, f: Tensor, r: Tensor) -> Tensor:
        if self.gate is not None:
            g = torch.sigmoid(self.gate(torch.cat([f, r], 2), 2))
            return g * f + (1 - g) * r
        if self.merge == "concat":
            return torch.cat([f, r], 2)
        return f + r if self.merge == "sum" else (f + r) / 2
