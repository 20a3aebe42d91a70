"""Attention over all steps that were read: one answer from a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_
from recurra.networks.channels import ChannelLinear
from recurra.networks.masked import masked_softmax
from recurra.networks.memory import append, no_memory
from recurra.networks.ragged import Lengths, check_parts, last_valid, valid
from recurra.networks.sequence_layer import SequenceLayer

__all__ = ["TemporalAttention"]


class TemporalAttention(nn.Module):
    """N to 1: the last output asks which of all outputs matter. h_1, ..., h_T are the outputs of `layer`.

        e_s = v^T tanh(W h_T + U h_s),    b = softmax over s <= T,    c = sum of b_s h_s
        o = V [h_T; c] + d

        TemporalAttention(SpatialAttention(Leaky, 3, (30,), 64), outputs=12)      # places, then times

    layer: any `SequenceLayer`; over grids h is scored by its mean over places, and o has the grid. outputs: features of
    o, such as a horizon. o: `(B, outputs, ...)`. `step` gives what the whole call gives on x_1, ..., x_t; the state is
    `(the layer's, a memory of all h)`.

    Paper: Qin et al., "A dual-stage attention-based recurrent neural network for time series prediction", IJCAI (2017),
    arXiv v4, equations 12 to 14.
    Deviation: the question is the encoder's last output; they ask at every step of a decoder.
    """

    topology = "temporal-attention"

    def __init__(self, layer: SequenceLayer, outputs: int, attention_size: int | None = None) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module):
            raise ArgumentError(f"expected a layer (a module with output_size), got {type(layer).__name__}")
        self.layer = layer
        self.output_size = outputs
        features: int = layer.output_size
        size = attention_size or features
        self.weight_query = nn.Parameter(torch.empty(size, features))
        self.weight_key = nn.Parameter(torch.empty(size, features))
        self.score = nn.Parameter(torch.empty(size))
        uniform_([self.weight_query, self.weight_key, self.score], size)
        self.readout = ChannelLinear(2 * features, outputs)

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[Any, Any]]:
        """Return o after each row's last valid step, and the state."""
        o, state, _ = self._run(x, state, lengths)
        return o, state

    def weights(self, x: Tensor, *, lengths: Lengths = None) -> Tensor:
        """Return the weights b_s, `(B, T)`, zero in the padding."""
        return self._run(x, None, lengths)[2]

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, tuple[Any, Any]]:
        """Run one step. Raises ArgumentError where the layer looks ahead."""
        own, memory = check_parts("TemporalAttention", state, 2, "the layer's and the memory")
        step = getattr(self.layer, "step", None)
        if step is None:
            raise ArgumentError(f"{type(self.layer).__name__} has no `step`, so this cannot run step by step")
        h, own = step(x, own, context)
        o, memory, _ = self._answer(h.unsqueeze(1), h, memory, None)
        return o, (own, memory)

    def initial_state(self, batch: int) -> tuple[Any, Any]:
        """Return the state before the first step."""
        begin: Any = getattr(self.layer, "initial_state", None)
        if begin is None:
            raise ArgumentError(f"{type(self.layer).__name__} has no `initial_state`, so this cannot run step by step")
        return begin(batch), None

    def _run(self, x: Tensor, state: Any, lengths: Lengths) -> tuple[Tensor, tuple[Any, Any], Tensor]:
        own, memory = check_parts("TemporalAttention", state, 2, "the layer's and the memory")
        h, own = self.layer(x, own, lengths=lengths)
        o, memory, b = self._answer(h, last_valid(h, lengths), memory, valid(lengths, h))
        return o, (own, memory), b

    def _answer(self, h: Tensor, last: Tensor, memory: Any, mask: Tensor | None) -> tuple[Tensor, Any, Tensor]:
        """Return o, the memory with h behind what it has, and the weights over all that is in it."""
        shape = h.shape[2:]
        flat = h.flatten(2)
        before = no_memory(h.shape[0], flat.shape[2], flat) if memory is None else memory
        if memory is not None and mask is not None:
            # A row that ended where it began asks by the last output that it remembers.
            none = ~mask.any(1)
            last = torch.where(none.reshape(-1, *(1,) * (last.dim() - 1)), _newest(before).unflatten(1, shape), last)
        memory = append(before, flat, mask)
        every, count = memory
        seen = torch.arange(every.shape[1], device=h.device) < count.unsqueeze(1)
        every = every.unflatten(2, shape)
        asked, keys = (v.flatten(d + 1).mean(d + 1) if len(shape) > 1 else v for v, d in ((last, 1), (every, 2)))
        e = torch.tanh((asked @ self.weight_query.T).unsqueeze(1) + keys @ self.weight_key.T) @ self.score
        b = masked_softmax(e, seen)
        c = torch.einsum("bs,bs...->b...", b, every)
        return self.readout(torch.cat([last, c], 1), 1), memory, b


def _newest(memory: Any) -> Tensor:
    """Return the last vector of each row's memory, zeros where there is none."""
    every, count = memory
    return last_valid(every, count) if every.shape[1] else every.new_zeros(every.shape[0], every.shape[2])
