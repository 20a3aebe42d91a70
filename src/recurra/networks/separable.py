"""The separable network: one part over what came before t, one over what comes after, and x_t between them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import CellFactory, Recurrent
from recurra.networks.ragged import Lengths, check_sequences, last_valid, reversed_rows, valid, zeroed

__all__ = ["Separable"]


class Separable(nn.Module):
    """A network over x before t, one over x after t, each its own cell and size, neither waiting for the other.

        p_t = past(x_1, ..., x_{t-1})            zeros at t = 1
        f_t = future(x_T, ..., x_{t+1})          zeros at t = T; with a look-ahead k: future(x_{t+k}, ..., x_{t+1})
        y_t = tanh(W [p_t; x_t; f_t] + b)

    cell, hidden_size: of the past; future, future_size: of the future, the same if not given. output_size: of y, the
    hidden size if not given. x: `(B, T, input_size)`. It needs the whole sequence, unless there is a look-ahead k: then
    it streams with a `delay` of k: `step` takes x_t and gives y_{t-k}, zeros while t <= k, and `flush` the last k.
    State of the stream: `(the past's state, p (1, B, P), the last k inputs (1, B, k, I), inputs so far (1, B))`.
    Masks that wrappers draw while training are drawn for each window apart.

    Source: the course of Qiu, "Neural networks and deep learning" (2020), among its answers to how recurrent networks
    can be parallelised; look-ahead: Wang et al., "Lookahead convolution layer for unidirectional recurrent neural
    networks" (2016), with a recurrence in place of the convolution.
    """

    topology = "separable"

    def __init__(
        self,
        cell: CellFactory,
        input_size: int,
        hidden_size: int,
        *,
        future: CellFactory | None = None,
        future_size: int | None = None,
        output_size: int | None = None,
        look_ahead: int | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if look_ahead is not None and look_ahead < 1:
            raise ArgumentError(f"look_ahead must be at least 1 step, or None for the whole future, got {look_ahead}")
        self.input_size = input_size
        self.look_ahead = look_ahead
        self.delay = look_ahead or 0
        self.output_size = output_size or hidden_size
        self.past = Recurrent(cell, input_size, hidden_size, batch_first=True, backend=backend)
        self.future = Recurrent(
            future or cell, input_size, future_size or hidden_size, batch_first=True, backend=backend
        )
        self.merge = nn.Linear(self.past.output_size + input_size + self.future.output_size, self.output_size)

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[()]]:
        """Return y `(B, T, output_size)`, zero in the padding, and an empty state. Raises ArgumentError for a state."""
        check_sequences("Separable", x, self.input_size)
        if state:
            raise ArgumentError("Separable takes whole sequences from their beginning: call it without a state")
        return self._all(x, None, None, lengths), ()

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Take x_t `(B, input_size)`; return y_{t-k} (zeros while t <= k) and the new state.

        Raises ArgumentError without a look-ahead.
        """
        k = self._window()
        past, p, waiting, count = state if state is not None else self.initial_state(x.shape[0])
        p, waiting, count = p[0], waiting[0], count[0]
        ready = count >= k
        known = torch.cat([waiting, x.unsqueeze(1)], 1)
        # Zeros came before the first inputs: nothing is read of a window that is not full.
        f = self._read_back(known[:, 1:], torch.full_like(count, k))
        y = zeroed(self._merged(p, known[:, 0], f), ready)
        new, past = self.past.step(known[:, 0], past, active=ready)
        p = torch.where(ready.unsqueeze(1), new, p)
        return y, (past, p.unsqueeze(0), known[:, 1:].unsqueeze(0), (count + 1).unsqueeze(0))

    def flush(self, state: Any) -> tuple[Tensor, Tensor]:
        """Return the outputs that the look-ahead has kept waiting, `(B, k, output_size)`, and how many each row has.

        To be called where the sequences end; outputs of a row come first, zeros after them.
        """
        k = self._window()
        past, p, waiting, count = state
        many = count[0].clamp(max=k)
        # The waiting inputs stand at the end of their window.
        order = (torch.arange(k, device=many.device) + k - many.unsqueeze(1)) % k
        x = waiting[0][torch.arange(len(many), device=many.device).unsqueeze(1), order]
        return self._all(x, past, p[0], many), many

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state before the first step. Raises ArgumentError without a look-ahead."""
        k = self._window()
        w = self.merge.weight
        p, waiting = w.new_zeros(1, batch, self.past.output_size), w.new_zeros(1, batch, k, self.input_size)
        count = torch.zeros(1, batch, device=w.device, dtype=torch.int64)
        return self.past.initial_state(batch), p, waiting, count

    def extra_repr(self) -> str:
        return f"look_ahead={self.look_ahead}"

    def _all(self, x: Tensor, past: Any, first: Tensor | None, lengths: Lengths) -> Tensor:
        mask = valid(lengths, x)
        x = zeroed(x, mask)
        if not x.shape[1]:
            return x.new_zeros(x.shape[0], 0, self.output_size)
        p, _ = self.past(x, past, lengths=lengths)
        first = x.new_zeros(x.shape[0], 1, p.shape[2]) if first is None else first.unsqueeze(1)
        p = torch.cat([first, p[:, :-1]], 1)
        return zeroed(self._merged(p, x, self._after(x, lengths, mask)), mask)

    def _after(self, x: Tensor, lengths: Lengths, mask: Tensor | None) -> Tensor:
        """Return f_t for all t."""
        B, T = x.shape[:2]
        if self.look_ahead is None:
            r, _ = self.future(reversed_rows(x, lengths), lengths=lengths)
            return F.pad(reversed_rows(r, lengths)[:, 1:], (0, 0, 0, 1))
        k = self.look_ahead
        windows = F.pad(x, (0, 0, 0, k))[:, 1:].unfold(1, k, 1).movedim(-1, 2)
        total = x.new_full((B,), T) if mask is None else mask.sum(1)
        left = (total.unsqueeze(1) - 1 - torch.arange(T, device=x.device)).clamp(0, k).long()
        return self._read_back(windows.flatten(0, 1), left.flatten()).unflatten(0, (B, T))

    def _read_back(self, windows: Tensor, counts: Tensor) -> Tensor:
        """Return the future's last output over windows `(N, k, I)`, from their last valid step to their first."""
        y, _ = self.future(reversed_rows(windows, counts), lengths=counts)
        return last_valid(y, counts)

    def _merged(self, p: Tensor, x: Tensor, f: Tensor) -> Tensor:
        return torch.tanh(self.merge(torch.cat([p, x, f], -1)))

    def _window(self) -> int:
        if self.look_ahead is None:
            raise ArgumentError(
                "Separable reads all that comes after t, so it cannot run step by step: give it a look_ahead of k steps"
            )
        return self.look_ahead
