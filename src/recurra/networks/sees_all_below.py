"""A deep network whose states see all time steps of the layer below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import PerLayer
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_
from recurra.layers import CellFactory, Recurrent
from recurra.networks.deep import cells_for
from recurra.networks.masked import masked_softmax
from recurra.networks.memory import append, no_memory
from recurra.networks.ragged import Lengths, check_parts, check_sequences, valid, zeroed

__all__ = ["LOOKS", "SeesAllBelow"]

LOOKS = ("attention", "mean", "max")
"""How a step sees all steps of the layer below."""


class SeesAllBelow(nn.Module):
    """Recurrent layers; each but the first sees all time steps of the one below it. y is what the layer below gives.

        u_t = [y_t; c_t]                      the input of the layer above at t
        attention   c_t = sum over s of a_ts y_s,    a_t = softmax over s of y_t^T A y_s / sqrt(F)
        mean, max   c_t = the mean, or the largest, entry by entry, of all y_s

    s goes over all valid steps; with `causal=True` over s <= t, and then it streams. cells: one for all layers, or one
    for each; sizes: each layer's hidden size. x: `(B, T, input_size)`.
    State: `(each layer's state, each memory)`; a memory holds all y_s so far and each row's number of them, or the sum
    and the number, or the largest; it is empty where not causal, and the layers' states alone are then carried on.

    Source: the course of Qiu, "Neural networks and deep learning" (2020): "a state from all times of the layer below";
    attention: Luong, Pham and Manning, "Effective approaches to attention-based neural machine translation", EMNLP
    (2015), their general score, divided by sqrt(F).
    Deviation: the course leaves open how; y_t itself stays an input, so that nothing is lost by looking.
    """

    topology = "sees-all-below"

    def __init__(
        self,
        cells: CellFactory | Sequence[CellFactory],
        input_size: int,
        sizes: Sequence[int],
        look: str = "attention",
        *,
        causal: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if look not in LOOKS:
            raise ArgumentError(f"look must be one of {', '.join(LOOKS)}, got {look!r}")
        self.input_size = input_size
        self.look = look
        self.causal = causal
        self.layers = nn.ModuleList()
        self.scores = nn.ParameterList()
        width = input_size
        for k, (cell, size) in enumerate(zip(cells_for(cells, sizes), sizes, strict=True)):
            layer = Recurrent(cell, 2 * width if k else width, size, batch_first=True, backend=backend)
            if k and look == "attention":
                self.scores.append(nn.Parameter(torch.empty(width, width)))
                uniform_([self.scores[-1]], width)
            self.layers.append(layer)
            width = layer.output_size
        self.output_size = width

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, Any]:
        """Return y `(B, T, output_size)`, zero in the padding, and the state."""
        y, state, _ = self._run(x, state, lengths)
        return y, state

    def weights(self, x: Tensor, *, lengths: Lengths = None) -> list[Tensor]:
        """Return the attention weights a_ts of each layer but the first, `(B, T, T)`, zero where s is not seen.

        Raises ArgumentError where there is no attention.
        """
        if self.look != "attention":
            raise ArgumentError(f"expected look 'attention' to have weights, got {self.look!r}")
        return self._run(x, None, lengths)[2]

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, Any]:
        """Run one step `(B, input_size)`. Raises ArgumentError unless causal."""
        if not self.causal:
            raise ArgumentError(
                "SeesAllBelow looks at all time steps of the layer below, later ones too, so it cannot run step by "
                "step: make it with causal=True, or give whole sequences"
            )
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    def initial_state(self, batch: int) -> tuple[Any, Any]:
        """Return the state before the first step."""
        layers = [layer for layer in self.layers if isinstance(layer, Recurrent)]
        return tuple(layer.initial_state(batch) for layer in layers), self._memories(batch, next(self.parameters()))

    def extra_repr(self) -> str:
        return f"look={self.look!r}, causal={self.causal}"

    def _run(self, x: Tensor, state: Any, lengths: Lengths) -> tuple[Tensor, Any, list[Tensor]]:
        check_sequences("SeesAllBelow", x, self.input_size)
        own, kept = check_parts("SeesAllBelow", state, 2, "the layers' states and their memories")
        owned = check_parts("SeesAllBelow", own, len(self.layers), "one for each layer")  # pyright: ignore[reportArgumentType]
        memories: Any = kept or self._memories(x.shape[0], x)
        mask = valid(lengths, x)
        final: list[Any] = []
        remembered: list[PerLayer] = []
        weights: list[Tensor] = []
        y = x
        for k, layer in enumerate(self.layers):
            if k:
                memory = memories[k - 1] if self.causal else None
                if self.look == "attention":
                    c, a, memory = self._attend(y, mask, memory, self.scores[k - 1])
                    weights.append(a)
                else:
                    c, memory = self._mean(y, mask, memory) if self.look == "mean" else self._max(y, mask, memory)
                if memory is not None:
                    remembered.append(memory)
                y = zeroed(torch.cat([y, c], 2), mask)
            y, new = layer(y, owned[k], lengths=lengths)
            final.append(new)
        return y, (tuple(final), tuple(remembered)), weights

    def _memories(self, batch: int, like: Tensor) -> tuple[PerLayer, ...]:
        below = [layer.output_size for layer in self.layers if isinstance(layer, Recurrent)][:-1]
        if not self.causal:
            return ()
        if self.look == "attention":
            return tuple(no_memory(batch, size, like) for size in below)
        if self.look == "mean":
            return tuple(PerLayer((like.new_zeros(batch, size), like.new_zeros(batch, 1))) for size in below)
        return tuple(PerLayer((like.new_full((batch, size), -torch.inf),)) for size in below)

    @staticmethod
    def _attend(
        y: Tensor, mask: Tensor | None, memory: PerLayer | None, score: Tensor
    ) -> tuple[Tensor, Tensor, PerLayer | None]:
        """Return c, the weights, and the memory."""
        T = y.shape[1]
        seen = y.new_ones(y.shape[:2], dtype=torch.bool) if mask is None else mask
        seen = seen.unsqueeze(1).expand(-1, T, -1)
        values = y
        if memory is not None:
            old, count = memory
            seen = seen & torch.ones(T, T, device=y.device, dtype=torch.bool).tril()
            before = torch.arange(old.shape[1], device=y.device) < count.unsqueeze(1)
            seen = torch.cat([before.unsqueeze(1).expand(-1, T, -1), seen], 2)
            values = torch.cat([old, y], 1)
            memory = append(memory, y, mask)
        e = y @ score @ values.transpose(1, 2) / y.shape[2] ** 0.5
        a = masked_softmax(e, seen)
        return a @ values, a, memory

    @staticmethod
    def _mean(y: Tensor, mask: Tensor | None, memory: PerLayer | None) -> tuple[Tensor, PerLayer | None]:
        many = y.new_ones(*y.shape[:2], 1) if mask is None else mask.unsqueeze(2).to(y.dtype)
        if memory is None:
            return (y.sum(1, keepdim=True) / many.sum(1, keepdim=True).clamp(min=1)).expand_as(y), None
        total, count = memory
        total, count = total.unsqueeze(1) + y.cumsum(1), count.unsqueeze(1) + many.cumsum(1)
        if not y.shape[1]:
            return y, memory
        return total / count.clamp(min=1), PerLayer((total[:, -1], count[:, -1]))

    @staticmethod
    def _max(y: Tensor, mask: Tensor | None, memory: PerLayer | None) -> tuple[Tensor, PerLayer | None]:
        if not y.shape[1]:
            return y, memory
        low = y if mask is None else y.masked_fill(~mask.unsqueeze(2), -torch.inf)
        if memory is None:
            return low.amax(1, keepdim=True).expand_as(y), None
        high = torch.maximum(low.cummax(1).values, memory[0].unsqueeze(1))
        return high, PerLayer((high[:, -1],))
