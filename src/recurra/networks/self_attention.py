"""A block of self-attention, to stand between recurrent layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.networks.masked import masked_softmax
from recurra.networks.memory import append, no_memory
from recurra.networks.ragged import Lengths, check_sequences, valid, zeroed

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    """Every step looks at all others, in several heads, around which there is a way.

        q, k, v = W (norm x_t)                           for each head a share of `size / heads`
        a_ts = softmax over s of q_t^T k_s / sqrt(size / heads)
        y_t = x_t + O [sum over s of a_ts v_s, of all heads]

        Chain(TwoWay(Leaky, 32, 32), SelfAttention(64), TwoWay(Leaky, 64, 32))

    Order comes from the recurrent layers around it, so that positions need no code of their own. causal: s <= t, and
    then it streams; its state is a memory of all k and v so far. x, y: `(B, T, size)`.

    Paper: Vaswani et al., "Attention is all you need", NIPS (2017), arXiv v5, section 3.2.
    Deviation: layer normalisation before the products, not after; no positions; what feeds forward is the next layer.
    """

    topology = "self-attention"

    def __init__(self, size: int, heads: int = 4, *, causal: bool = False) -> None:
        super().__init__()
        if heads < 1 or size % heads:
            raise ArgumentError(f"expected heads that divide the size {size}, got {heads}")
        self.input_size = self.output_size = size
        self.heads = heads
        self.causal = causal
        self.norm = nn.LayerNorm(size)
        self.project = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, Any]:
        """Return y `(B, T, size)`, zero in the padding, and the memory, empty unless causal."""
        y, state, _ = self._run(x, state, lengths)
        return y, state

    def weights(self, x: Tensor, *, lengths: Lengths = None) -> Tensor:
        """Return the attention weights a_ts of each head, `(B, heads, T, T)`, zero where s is not seen."""
        return self._run(x, None, lengths)[2]

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, Any]:
        """Run one step `(B, size)`. Raises ArgumentError unless causal."""
        if not self.causal:
            raise ArgumentError(
                "SelfAttention looks at later steps too, so it cannot run step by step: make it with causal=True"
            )
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step: an empty memory."""
        return no_memory(batch, 2 * self.input_size, self.norm.weight) if self.causal else ()

    def extra_repr(self) -> str:
        return f"heads={self.heads}, causal={self.causal}"

    def _run(self, x: Tensor, state: Any, lengths: Lengths) -> tuple[Tensor, Any, Tensor]:
        check_sequences("SelfAttention", x, self.input_size)
        mask = valid(lengths, x)
        x = zeroed(x, mask)
        T = x.shape[1]
        q, kv = self.project(self.norm(x)).split([self.input_size, 2 * self.input_size], 2)
        seen = torch.ones(x.shape[:2], device=x.device, dtype=torch.bool) if mask is None else mask
        seen = seen.unsqueeze(1).expand(-1, T, -1)
        every, final = kv, ()
        if self.causal:
            memory = state or no_memory(x.shape[0], kv.shape[2], x)
            old, count = memory
            before = torch.arange(old.shape[1], device=x.device) < count.unsqueeze(1)
            seen = seen & torch.ones(T, T, device=x.device, dtype=torch.bool).tril()
            seen = torch.cat([before.unsqueeze(1).expand(-1, T, -1), seen], 2)
            every = torch.cat([old, kv], 1)
            final = append(memory, kv, mask)
        k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in every.chunk(2, 2))
        q = q.unflatten(2, (self.heads, -1)).transpose(1, 2)
        a = masked_softmax(q @ k.transpose(2, 3) / q.shape[3] ** 0.5, seen.unsqueeze(1))
        y = x + self.out((a @ v).transpose(1, 2).flatten(2))
        return zeroed(y, mask), final, a
