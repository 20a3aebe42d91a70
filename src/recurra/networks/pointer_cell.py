"""A decoder that may copy: it points at a symbol of the source in place of choosing one from its vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Cell, Context, State, StateShape
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks.attention_cell import AttentionCell, PreparedSource

__all__ = ["PointerCell"]


class PointerCell(Cell):
    """A pointer-generator network around a decoder with attention; its output is a distribution already.

        g_i = sigmoid(w [c_i; h_i; x_i] + b)                                         generate, or copy?
        P_i(w) = g_i softmax(V [h_i; c_i] + b)_w + (1 - g_i) sum of a_ij over all j whose symbol is w
        y_i = log P_i

    symbols: of the vocabulary; extra: how many further ids a source may use for words that the vocabulary lacks, which
    can be copied only. Its context is `(states, mask, ids, ...)`, ids `(B, S)` int64 from 0 to symbols + extra - 1
    being the source's symbols.
    Shapes: x `(B, input_size)`; y `(B, symbols + extra)`; state: that of the cell inside.
    Weights: `cell.*`, `generate.*`, `vocabulary.*`.
    Source: See, Liu and Manning, "Get to the point: summarization with pointer-generator networks", ACL (2017).
    Deviation: V is one layer, not two.
    """

    def __init__(self, cell: AttentionCell, symbols: int, extra: int = 0) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        if symbols < 1 or extra < 0:
            raise ArgumentError(f"PointerCell: expected at least one symbol, got symbols={symbols}, extra={extra}")
        self.cell = cell
        self.symbols = symbols
        self.extra = extra
        seen = cell.output_shape[0] + cell.attention.output_size
        self.generate = nn.Linear(seen + cell.input_size, 1)
        self.vocabulary = nn.Linear(seen, symbols)
        self.output_shape = (symbols + extra,)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
        ids, *inner = context
        done = self.cell.attended(x, state, inner)
        seen = torch.cat([done.y, done.context], -1)
        generated = torch.sigmoid(self.generate(torch.cat([seen, x], -1)))
        # Where there is nothing to copy from, all is generated.
        generated = torch.where(done.weights.sum(1, keepdim=True) > 0, generated, 1)
        chosen = generated * torch.softmax(self.vocabulary(seen), -1)
        p = torch.cat([chosen, chosen.new_zeros(chosen.shape[0], self.extra)], -1)
        p = p.scatter_add(1, ids, (1 - generated) * done.weights)
        return torch.log(p.clamp(min=torch.finfo(p.dtype).tiny)), done.state

    def begin(self, inner: State) -> State:
        """Return the state before the first step that has the given state of the innermost cell."""
        return self.cell.begin(inner)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return self.cell.state_shapes()

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        return self.cell.initial_state(batch, device=device, dtype=dtype)

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        if given and isinstance(given[0], PreparedSource):
            source, given = given[:1], (given[0].states, given[0].mask, *given[1:])
        else:
            source = given[:2]
        if len(given) < 3:
            raise ArgumentError("PointerCell needs context=(encoder states, mask, the source's ids)")
        keys, mask, ids, *rest = given
        if ids.dtype != torch.int64 or ids.shape != keys.shape[:2]:
            raise ShapeError(
                f"PointerCell: expected int64 ids of the source of shape {tuple(keys.shape[:2])}, got {ids.dtype} "
                f"{tuple(ids.shape)}"
            )
        if mask is not None:
            ids = torch.where(mask, ids, 0)
        known = self.symbols + self.extra
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < known:
            raise ShapeError(f"PointerCell: expected ids from 0 to {known - 1}, got up to {int(ids.max())}")
        per_call, per_step = self.cell.make_context((*source, *rest), steps, batch, device, dtype)
        return (ids, *per_call), per_step

    def extra_repr(self) -> str:
        return f"symbols={self.symbols}, extra={self.extra}"
